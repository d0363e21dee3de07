"""What a frozen dataset says of itself: the manifest and the card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from errata.card import render_card
from errata.kinds import kinds_of
from errata.output_config import ShapeName
from errata.rests import LeftOut
from errata.seeds import SPLITS
from errata.shapes import default_shape, has_train_rows
from errata.shapes.notes import whole_notes
from errata.types import Domain
from models.folders import list_files
from workers.stages.code_version import code_version
from workers.stages.dataset_selection import DatasetSelection
from workers.stages.dataset_tables import Written
from workers.stages.recipe_files import write_recipes

FORMAT = 1  # of the manifest


def describe(
    chosen: DatasetSelection,
    written: Written,
    folder: Path,
    audit: dict[str, Any],
    gates: dict[str, Any],
    cancelled: Callable[[], bool],
) -> dict[str, Any]:
    """Write the card and the recipes beside the tables, which are complete; the answer is the manifest.

    ``audit`` and ``gates`` are the reports by type of pair and by gate. Raises Cancelled.
    """
    files, tables = written.files, written.files.tables
    rows_of = {
        shape.name: {split: tables[shape.name, split].rows for split in SPLITS if (shape.name, split) in tables}
        for shape in chosen.shapes
        if any((shape.name, split) in tables for split in SPLITS)  # tables without rows have no files
    }
    default, whole = default_shape(has_train_rows(rows_of), chat_template=chosen.chat_template), files.rests.report()
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": chosen.dataset.name,
        "config": chosen.config.model_dump(mode="json") | {"shapes": [shape.name for shape in chosen.shapes]},
        "code": code_version(),
        "chat_template": chosen.chat_template,
        "default_shape": default,
        "notes": _notes(chosen, whole, default),
        "rows": rows_of,
        "schema": {shape.name: shape.fields for shape in chosen.shapes},
        "counts": {"pairs": files.counts.pairs, "problems": len(written.problems), **files.counts.as_dict()},
        "distributions": files.counts.distributions.as_dict(),
        "left_out": written.left_out,
        "lineage": _lineage(chosen, written),
        "mix": _mix(chosen, written),
        "gates": gates,
        "audit": audit,
        "audit_by_kind": files.auditor.by_kind(),
        "whole": whole,
        "capped_kinds": _capped(chosen),
    }
    if chosen.imports:
        manifest["imports"] = chosen.imports
    if chosen.retracted:
        manifest["retracted"] = chosen.retracted
    (folder / "README.md").write_text(render_card(manifest), encoding="utf-8", newline="\n")
    rows = {path.relative_to(folder).as_posix(): table.rows for table in tables.values() for path in table.paths}
    rows |= write_recipes(folder, manifest["rows"], cancelled)
    manifest["files"] = list_files(folder, extra={name: {"rows": count} for name, count in rows.items()})
    return manifest


def _notes(chosen: DatasetSelection, whole: dict[str, Any], default: ShapeName | None) -> list[str]:
    """What to know before the dataset is trained on."""
    left_out = {LeftOut(why): count for why, count in whole["left_out"].items()}
    return whole_notes(sum(whole["pairs"].values()), left_out, [shape.name for shape in chosen.shapes], default)


def _lineage(chosen: DatasetSelection, written: Written) -> list[dict[str, Any]]:
    """Where the pairs come from, job by job, also by way of the datasets that were mixed in."""
    found = {entry["job_id"]: entry for dataset in chosen.mixed for entry in (dataset.manifest or {})["lineage"]}
    found = {entry["job_id"]: entry for entry in chosen.lineage} | {
        job_id: entry for job_id, entry in found.items() if job_id not in chosen.config.jobs
    }
    return [{**entry, "pairs": written.pairs_of[job_id]} for job_id, entry in found.items()]


def _mix(chosen: DatasetSelection, written: Written) -> list[dict[str, Any]]:
    """The sources with their weights and what each gave; empty for jobs without weights."""
    if not chosen.config.weighted and not chosen.mixed:
        return []
    named = [{"job": job.id} for job in chosen.jobs]
    named += [{"dataset": dataset.id, "sha256": str(dataset.sha256)} for dataset in chosen.mixed]
    weights: list[float | None] = list(chosen.config.weights if chosen.config.weighted else [None] * len(named))
    return [
        {**source, "weight": weight, "pairs": pairs}
        for source, weight, pairs in zip(named, weights, written.from_source, strict=True)
    ]


def _capped(chosen: DatasetSelection) -> list[dict[str, Any]]:
    """The kinds that a job of the dataset made fewer pairs of than of others, and why (errata.kinds)."""
    found: dict[str, dict[str, Any]] = {
        entry["kind"]: entry for dataset in chosen.mixed for entry in (dataset.manifest or {}).get("capped_kinds") or ()
    }
    for job in chosen.jobs:
        editing = job.config.get("editing") or {}
        if editing.get("editor") == "rules" and editing.get("kinds") is None:
            for kind in kinds_of(Domain(chosen.domains[job.id])).values():
                if kind.rule_share < 1:
                    found[kind.name] = {"kind": kind.name, "share": kind.rule_share, "why": kind.audited}
    return [found[name] for name in sorted(found)]
