"""A gate's report: its figure, whether that is allowed, one sentence, and the rows it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from errata.gates.config import Action, GateName

MOST_ROWS = 100
"""Rows listed in a report; all are counted."""

State = Literal["passed", "warning", "refused", "not_measured"]


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a gate found. JSON-friendly.

    ``figure``: what is compared with ``at_most``; None where nothing could be measured, and ``state`` then says so.
    ``found``: how many rows are behind the figure; ``rows``: the first 100 of them. ``details``: further figures.
    """

    gate: GateName
    action: Action
    state: State
    figure: float | None
    at_most: float
    sentence: str
    found: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest, without the name."""
        values = asdict(self)
        del values["gate"]
        return values


def report(
    gate: GateName,
    config: Any,
    figure: float | None,
    sentence: str,
    *,
    found: int = 0,
    rows: Sequence[dict[str, Any]] = (),
    details: Mapping[str, Any] | None = None,
) -> GateReport:
    """The report of a gate by its configuration (errata.gates.config): a figure above ``at_most`` warns or refuses."""
    state: State = "passed"
    if figure is None:
        state = "not_measured"
    elif figure > config.at_most:
        state = "refused" if config.action == "refuse" else "warning"
    rounded = None if figure is None else round(figure, 6)
    shown = list(rows[:MOST_ROWS])
    return GateReport(gate, config.action, state, rounded, config.at_most, sentence, found, shown, dict(details or {}))


def refusal(reports: Sequence[GateReport]) -> str | None:
    """Why a dataset is refused, with the remedy; None where no gate refuses."""
    refused = [report for report in reports if report.state == "refused"]
    if not refused:
        return None
    told = " ".join(f"{report.gate}: {report.sentence}" for report in refused)
    names = ", ".join(f"'gates.{report.gate}.at_most'" for report in refused)
    return (
        f"refused by its gates. {told} Leave out what is listed in the event 'gates_refused', raise {names}, or set"
        " 'action' to 'warn'."
    )
