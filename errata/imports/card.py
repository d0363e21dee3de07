"""The card of an imported dataset: where its rows came from, what was left out, and which table is for what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from errata.gates.card import gates_section

_OWN = ("steps_and_full", "sft")  # what Errata trains on; others are for other trainers


def render_card(manifest: Mapping[str, Any]) -> str:
    """README.md with the YAML head by which ``datasets.load_dataset(folder, shape)`` finds its files.

    ``manifest`` is that of workers.stages.imported. Says nothing that it does not hold.
    """
    return "\n".join([*_head(manifest), *_body(manifest)]) + "\n"


def _head(manifest: Mapping[str, Any]) -> list[str]:
    rows, source = manifest["rows"], manifest["imported"]
    lines = ["---", f"pretty_name: {json.dumps(manifest['name'], ensure_ascii=False)}"]
    if source["license"]:
        lines.append(f"license: {json.dumps(source['license'], ensure_ascii=False)}")
    lines += ["task_categories:", "- text-generation", "tags:", "- preference", "- errata", "- imported", "configs:"]
    default = next((name for name in rows if name not in _OWN), next(iter(rows)))
    for name, splits in rows.items():
        lines += [f"- config_name: {name}", *(["  default: true"] if name == default else []), "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {name}/{split}.parquet"]
    return [*lines, "---", ""]


def _body(manifest: Mapping[str, Any]) -> list[str]:
    counts, source, config = manifest["counts"], manifest["imported"], manifest["config"]
    what = f"{counts['pairs']:,} preference pairs" if counts["pairs"] else f"{counts['samples']:,} samples"
    told = (
        f"{what} for {counts['problems']:,} prompts, imported into Errata from a file. Errata did not make these rows,"
        " and proved nothing of them: their evidence is `unproven`."
    )
    tables = [
        (f"`{name}`", ", ".join(f"{split} {count:,}" for split, count in splits.items()), manifest["shapes"][name])
        for name, splits in manifest["rows"].items()
    ]
    lines = [f"# {escaped(manifest['name'])}", "", told, "", *_table(("configuration", "rows", "what it is"), tables)]
    lines += ["## Source", "", *_table(("", ""), _source(source)), *_rejected(source)]
    share = config["split"]["test"]
    split = f"Split by prompt, {share:.1%} of the prompts held out." if share else "No prompts are held out."
    lines += ["The validation file's rows are held out." if source.get("validation_file") else split, ""]
    for name, count in manifest["left_out"].items():
        if name in manifest["rows"]:
            lines += [f"`{name}` leaves out {count:,} rows that it cannot hold.", ""]
    lines += gates_section(manifest.get("gates"))
    for report in (manifest.get("audit") or {}).values():
        lines += [
            "## Shortcut audit",
            "",
            f"{'**Warning.** ' if report['warning'] else ''}{escaped(report['sentence'])}",
            "",
        ]
    lines += ["## Configuration", "", "```json", json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True)]
    return [*lines, "```"]


def _source(source: Mapping[str, Any]) -> list[tuple[str, str]]:
    mapping = ", ".join(f"`{field}` from `{escaped(column)}`" for field, column in source["mapping"].items())
    unpaired = source["unpaired"]
    rows = [
        ("file", escaped(source["file"] or "not named")),
        ("SHA-256", f"`{source['file_sha256']}`"),
        *_validation(source),
        ("licence", escaped(source["license"] or "not given")),
        ("from", escaped(source["source_url"] or "not given")),
        ("format", f"`{source['format']}`"),
        ("columns mapped", mapping or "none"),
        ("columns not used", ", ".join(f"`{escaped(name)}`" for name in source["ignored_columns"]) or "none"),
        ("rows of the file", f"{source['rows']:,}"),
        ("bad rows, left out", f"{source['rejected_count']:,}"),
        ("repeated rows, left out", f"{source['duplicates']:,}"),
        ("steps", f"{source['steps']:,} pairs whose sides end in mid-reply"),
    ]
    if any(unpaired.values()):
        rows.append(("without a partner", f"{unpaired['right']:,} right and {unpaired['wrong']:,} wrong completions"))
    return rows


def _validation(source: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not source.get("validation_file"):
        return []
    return [
        ("validation file", escaped(source["validation_file"])),
        ("its SHA-256", f"`{source['validation_file_sha256']}`"),
    ]


def _rejected(source: Mapping[str, Any]) -> list[str]:
    if not source["rejected"]:
        return []
    rows = [
        (escaped(told["reason"]), f"{told['count']:,}", ", ".join(map(str, told["lines"])))
        for told in source["rejected"]
    ]
    return _table(("why rows were left out", "rows", "first lines"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:], ""]


def escaped(text: Any) -> str:
    """Text for one table cell or title: no line break, no column mark, no markup."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in "|`<>[]#*_\\" else c for c in flat)
