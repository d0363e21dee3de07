"""Which imported datasets may be mixed with others, and which filters their rows can answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata.output_config import DatasetFilters

#: Filters whose answer is no column of an imported row.
_UNKNOWN = {
    "subjects": "rows of an imported file tell no subject",
    "levels": "rows of an imported file tell no level",
    "reviews": "pairs of an imported file cannot be reviewed",
}
#: Filters of step pairs, and the column that answers each.
_OF_STEPS = {"kinds": "error_kind", "forms": "form", "editors": "editor"}


def imports_of(manifest: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a dataset's manifest tells of the files that its pairs were imported from; empty where there are none."""
    told = manifest or {}
    return [told["imported"]] if told.get("imported") else list(told.get("imports") or ())


def why_not_mixed(told: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why an imported dataset cannot be mixed with others, and the remedy; None where it can.

    ``told`` is what the import says of the file. Every shape of a frozen dataset asks a question in the words that
    Errata asks a solver in, so the rows' prompts must be such questions.
    """
    if "own_prompts" not in told:
        return "it was imported before its prompts were counted", "import its file again, under another name"
    rows = told["pairs"] + told["samples"]
    if told["own_prompts"] == rows:
        return None
    other = rows - told["own_prompts"]
    return (
        f"{other:,} of its {rows:,} prompts are not worded as Errata asks a question, and a mix asks all of them so",
        "train on the imported dataset by itself, or import the rows as questions: with the columns of `steps_and_full`"
        " or of Step-DPO (format `errata` or `step_dpo`)",
    )


def unanswered(filters: DatasetFilters, manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first filter that rows of this dataset cannot answer, and why; None where they answer all.

    ``manifest`` is that of a dataset whose pairs were imported, or of a mix with such pairs.
    """
    for name, why in _UNKNOWN.items():
        if getattr(filters, name) is not None:
            return name, why
    if filters.require_evidence and "step" in filters.types:
        return "require_evidence", "nothing of an imported file was proven here"
    counts = manifest.get("counts") or {}
    steps = (counts.get("type") or {}).get("step", 0)
    for name, column in _OF_STEPS.items():
        if getattr(filters, name) is not None and steps and not counts.get(column):
            return name, f"none of its {steps:,} step pairs tells its {column.replace('_', ' ')}"
    return None
