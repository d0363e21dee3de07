"""The dataset card: README.md with the YAML head by which ``datasets.load_dataset(folder, shape)`` finds its files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from errata.card_retractions import retraction_lines
from errata.gates.card import gates_section
from errata.rests import LEFT_OUT, REST_KINDS, LeftOut, RestKind
from errata.shapes import SHAPES

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_WHAT = (
    "A `step` pair is one step of a correct solution and the same step with a subtle error edited in:"
    " both sides differ in the error and in nothing else. A `full` pair is a correct and an incorrect solution of one"
    " problem."
)
_COUNTED = {"type": "type", "error kind": "error_kind", "form": "form", "editor": "editor", "proof": "evidence"}
_YIELD = ("asked", "kept", "proven", "pairs")
_USE = (
    "In the configurations `whole*` and `sft*` every completion ends at an answer: any trainer that appends an"
    " end-of-sequence token may take them. In the others the completions of `step` pairs end in the middle of a"
    " solution: such a trainer would teach the model to stop after one step. TRL's trainers and fine-tuning services"
    " append one; Errata's own does not to step pairs. `prefix` is the solution before the step, the opening of the"
    " assistant's turn included; it belongs to the prompt."
)
_NO_DEFAULT = (
    "No configuration is the default: none that was written can be trained on as it stands. Name the one you mean."
)
_ENDS = {"answer": "an answer", "step": "the step, of step pairs", "nothing": ""}


def render_card(manifest: Mapping[str, Any]) -> str:
    """The card of a manifest (see workers.stages.freeze for its keys). Says nothing that the manifest does not hold."""
    return "\n".join([*_head(manifest), *_body(manifest)]) + "\n"


def _head(manifest: Mapping[str, Any]) -> list[str]:
    """YAML; strings are written as JSON, which YAML reads."""
    pairs = manifest["counts"]["pairs"]
    size = next((name for limit, name in _SIZES if pairs < limit), "1M<n<10M")
    lines = ["---", f"pretty_name: {json.dumps(manifest['name'], ensure_ascii=False)}"]
    lines += ["task_categories:", "- text-generation", "tags:", "- preference", "- dpo", "- step-dpo", "- errata"]
    lines += ["size_categories:", f"- {json.dumps(size)}", "configs:"]
    for shape, rows in manifest["rows"].items():
        lines.append(f"- config_name: {shape}")
        if shape == manifest.get("default_shape"):
            lines.append("  default: true")
        lines.append("  data_files:")
        for split in rows:
            lines += [f"  - split: {split}", f"    path: {shape}/{split}.parquet"]
    return [*lines, "---", ""]


def _body(manifest: Mapping[str, Any]) -> list[str]:
    counts, config = manifest["counts"], manifest["config"]
    lines = [
        f"# {_escaped(manifest['name'])}",
        "",
        f"{counts['pairs']:,} preference pairs from {counts['problems']:,} problems, made by Errata. {_WHAT}",
        "",
    ]
    lines += [*_notes(manifest.get("notes")), *_shapes(manifest), "## Pairs", ""]
    for title, key in _COUNTED.items():
        # A manifest of before forms and editors were known counts none.
        found = counts.get(key, {})
        lines += _table((title, "pairs"), [(_escaped(name), f"{number:,}") for name, number in found.items()])
    lines += [*_split_text(manifest), *_lineage(manifest["lineage"]), *_imports(manifest.get("imports"))]
    lines += gates_section(manifest.get("gates"))
    lines += [*_audit(manifest.get("audit"))]
    lines += [*_audit_by_kind(manifest.get("audit_by_kind")), *_capped(manifest.get("capped_kinds"))]
    lines += _whole(manifest.get("whole"))
    lines += retraction_lines(manifest.get("retracted"))
    lines += ["## Use", "", _USE, "", "## Configuration", ""]
    return [*lines, "```json", json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True), "```"]


def _notes(notes: Sequence[str] | None) -> list[str]:
    """What to know before the dataset is trained on, first of all; nothing where there is nothing."""
    return ["**Before you train.**", "", *(f"- {note}" for note in notes), ""] if notes else []


def _shapes(manifest: Mapping[str, Any]) -> list[str]:
    """Every configuration: its rows, whom it is for and where its completions end; and which one is the default."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"{split} {number:,}" for split, number in counts.items()),
            SHAPES[name].about,
            SHAPES[name].trainers,
            _ENDS[SHAPES[name].ends],
        )
        for name, counts in manifest["rows"].items()
    ]
    default = manifest.get("default_shape")
    said = f"`load_dataset` without a name gives `{default}`." if default else _NO_DEFAULT
    return [*_table(("configuration", "rows", "what it is", "for", "completions end at"), rows), said, ""]


def _split_text(manifest: Mapping[str, Any]) -> list[str]:
    share = manifest["config"]["split"]["test"]
    if share == 0:
        return ["No questions are held out.", ""]
    if not any("test" in splits for splits in manifest["rows"].values()):
        return [f"No questions are held out: of {share:.1%} that were to be, by chance none has rows.", ""]
    told = "no question, and no near-duplicate of one, occurs on both sides."
    return [f"Split by question, {share:.1%} of the questions held out: {told}", ""]


def _lineage(lineage: list[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            f"`{job['job_id']}`",
            f"`{job['problem_set_id']}`",
            _escaped(_models(job)),
            _escaped(job["preset"]),
            f"{job['pairs']:,}",
        )
        for job in lineage
    ]
    head = ("injection job", "problem set", "language model", "preset", "pairs")
    return ["## Lineage", "", *_table(head, rows), *_yields(lineage), *_origins(lineage)] if rows else []


def _imports(imports: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The files that rows were imported from, with licence and source; nothing where there are none."""
    if not imports:
        return []
    told = "These rows were imported from files. Errata did not make them and proved nothing of them."
    rows = [
        (
            f"`{entry['dataset']}`",
            _escaped(entry["file"] or "not named"),
            f"`{entry['file_sha256']}`",
            _escaped(entry["license"] or "not told"),
            _source(entry["source_url"]),
        )
        for entry in imports
    ]
    head = ("imported dataset", "file", "SHA-256", "licence", "source")
    return ["## Imported rows", "", told, "", *_table(head, rows)]


def _origins(lineage: list[Mapping[str, Any]]) -> list[str]:
    """Licence and source of each problem set, as its sender told; nothing for manifests of before they were asked."""
    told = {job["problem_set_id"]: job for job in lineage if "license" in job}
    if not told:
        return []
    rows = [
        (
            f"`{set_id}`",
            _escaped(job["problem_set"]),
            _escaped(job["license"] or "not told"),
            _source(job["source_url"]),
        )
        for set_id, job in told.items()
    ]
    return ["## Problems", "", *_table(("problem set", "name", "licence", "source"), rows)]


def _source(url: str | None) -> str:
    return f"<{url}>" if url and not set(url) & set("<>|") else "not told"


def _yields(lineage: list[Mapping[str, Any]]) -> list[str]:
    """What each editor of each job was asked for and gave; nothing for manifests of before editors were counted."""
    rows = [
        (f"`{job['job_id']}`", editor, *(f"{told[name]:,}" for name in _YIELD), _per_pair(told["tokens_per_pair"]))
        for job in lineage
        for editor, told in job.get("editors", {}).items()
    ]
    head = ("injection job", "editor", "asked", "kept", "proven", "pairs", "tokens per pair")
    return _table(head, rows) if rows else []


def _per_pair(tokens: float | None) -> str:
    return "" if tokens is None else f"{tokens:,.0f}"


def _models(job: Mapping[str, Any]) -> str:
    solver, editor = job["language_model"] or "solutions brought along", job.get("editor_model")
    return f"{solver}, edited by {editor}" if editor else solver


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table and the empty line that ends it."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]


def _audit(audit: Mapping[str, Any] | None) -> list[str]:
    """Per pair type the finding, and the features that weigh most where it is a warning."""
    if not audit:
        return []
    lines = ["## Shortcut audit", ""]
    for report in audit.values():
        lines += [f"{'**Warning.** ' if report['warning'] else ''}{_escaped(report['sentence'])}", ""]
        if report["auc"] is not None:
            for title, key in (("rejected", "toward_rejected"), ("chosen", "toward_chosen")):
                names = ", ".join(f"{_escaped(name)} ({weight:+.2f})" for name, weight in report[key][:8])
                lines.append(f"- toward {title}: {names or 'nothing'}")
            lines.append("")
    return lines


def _audit_by_kind(groups: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """A table of the kinds and forms with enough pairs to say; those above the threshold are marked."""
    if not groups:
        return []
    rows = [
        (
            _escaped(group["kind"]),
            _escaped(group["form"]),
            f"{group['pairs']:,}",
            f"{group['auc']:.2f} ({group['low']:.2f} to {group['high']:.2f})",
            f"**above the threshold**; look at {', '.join(_escaped(c) for c in group['clues'])}"
            if group["shortcut"]
            else "no shortcut above the threshold",
        )
        for group in groups
    ]
    return _table(("error kind", "form", "pairs", "AUC", "finding"), rows)


def _whole(whole: Mapping[str, Any] | None) -> list[str]:
    """How the sides of pairs come to their answers, by kind, and why some do not; nothing of older manifests."""
    if not whole or not (whole["pairs"] or whole["left_out"] or whole["left_out_samples"]):
        return []
    audited = {group["kind"]: group for group in whole["rests"]}
    rows = [
        (
            f"{kind}: {REST_KINDS[RestKind(kind)]}",
            f"{pairs:,}",
            *_rest_cells(audited.get(kind)),
        )
        for kind, pairs in whole["pairs"].items()
    ]
    head = ("rejected side goes on as", "pairs", "characters behind the step, chosen / rejected", "shortcut audit, AUC")
    lines = ["## Whole solutions", "", *(_table(head, rows) if rows else ())]
    out = [(LEFT_OUT[LeftOut(why)], "pairs", f"{count:,}") for why, count in whole["left_out"].items()]
    out += [(LEFT_OUT[LeftOut(why)], "samples", f"{count:,}") for why, count in whole["left_out_samples"].items()]
    return [*lines, *(_table(("left out because", "of", "count"), out) if out else ())]


def _rest_cells(group: Mapping[str, Any] | None) -> tuple[str, str]:
    if group is None:
        return "", ""
    lengths = f"{group['chosen_characters']:,.0f} / {group['rejected_characters']:,.0f}"
    if "auc" not in group:
        return lengths, "too few step pairs to say"
    mark = ", **above the threshold**" if group["shortcut"] else ""
    return lengths, f"{group['auc']:.2f} ({group['low']:.2f} to {group['high']:.2f}){mark}"


def _capped(kinds: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """The error kinds that were made rare on purpose, with the figure that is the reason."""
    if not kinds:
        return []
    told = "These error kinds were given to few steps, because edits made by their rule are told apart by their style."
    rows = [(_escaped(kind["kind"]), f"at most {kind['share']:.0%}", _escaped(kind["why"])) for kind in kinds]
    return [told, "", *_table(("error kind", "of the steps", "shortcut audit of the rule"), rows)]


def _escaped(text: Any) -> str:
    """Text for one table cell or title: no line break, no column mark, no markup."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in "|`<>[]#*_\\" else c for c in flat)
