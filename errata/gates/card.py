"""The gates' section of a dataset's card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATES = {
    "passed": "passed",
    "warning": "**warning**",
    "refused": "**refused**",
    "not_measured": "not measured",
}
_TITLES = {
    "near_duplicates": "near-duplicate questions",
    "duplicate_pairs": "duplicate pairs",
    "contamination": "contamination by benchmarks",
    "shortcuts": "shortcut audit",
    "labels": "labels checked again",
    "lengths": "lengths",
}
_LISTED = 10  # rows of evidence on the card; the manifest has more


def gates_section(gates: Mapping[str, Any] | None) -> list[str]:
    """A table of the gates and, for each that warns, the first rows it found. Nothing for manifests without gates."""
    if not gates:
        return []
    lines = ["## Gates", "", "| gate | state | figure | at most | finding |", "|---|---|---|---|---|"]
    for name, told in gates.items():
        figure = "" if told["figure"] is None else _figure(name, told["figure"])
        cells = (_TITLES.get(name, name), _STATES[told["state"]], figure, _figure(name, told["at_most"]))
        lines.append(f"| {' | '.join((*cells, _escaped(told['sentence'])))} |")
    lines.append("")
    for name, told in gates.items():
        if told["state"] == "warning" and told["rows"]:
            lines += _evidence(_TITLES.get(name, name), told)
    return lines


def _figure(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "shortcuts" else f"{value:.2%}"


def _evidence(title: str, told: Mapping[str, Any]) -> list[str]:
    rows = told["rows"][:_LISTED]
    lines = [f"Of the {title}, {len(rows):,} of {told['found']:,} rows (`manifest.json` lists up to 100):", ""]
    for row in rows:
        lines.append("- " + ", ".join(f"{_escaped(key)}: {_escaped(value)}" for key, value in row.items()))
    return [*lines, ""]


def _escaped(text: Any) -> str:
    """Text for one table cell or list: no line break, no column mark, no markup."""
    flat = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in "|`<>[]#*_\\" else c for c in flat)
