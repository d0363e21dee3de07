"""What the edits of a job yielded, by kind, form and step, and how fast its tokens came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from errata.types import EvidenceKind
from models.jobs import EditRow

MOST_EDITS = 20_000  # that the table of steps counts: no summary keeps them, and a page must answer at once
_MOST_STEPS = 20


@dataclass(frozen=True, slots=True)
class Yield:
    """Of the ``edits`` of one value, how many became pairs (``share``: from 0 to 1). ``query`` lists them."""

    label: str
    edits: int
    proven: int
    pairs: int
    query: str

    @property
    def share(self) -> float:
        """Share of the edits that became pairs."""
        return min(1.0, self.pairs / self.edits) if self.edits else 0.0


def by_kind(counts: Mapping[str, Any]) -> tuple[Yield, ...]:
    """Of a funnel's counts, the edits by error kind, most edits first."""
    found = {kind: Counter(told) for kind, told in counts["edits"].get("by_kind", {}).items()}
    return _ordered(found, "kind")


def by_form(counts: Mapping[str, Any]) -> tuple[Yield, ...]:
    """Of a funnel's counts, the edits by form, most edits first."""
    found: dict[str, Counter[str]] = {}
    for form, kinds in counts["edits"].get("by_form", {}).items():
        found[form] = sum((Counter(told) for told in kinds.values()), Counter())
    return _ordered(found, "form")


def _ordered(found: Mapping[str, Counter[str]], name: str) -> tuple[Yield, ...]:
    rows = [
        Yield(value, told["total"], told["proven"], told["pairs"], urlencode({name: value}))
        for value, told in found.items()
        if told["total"]
    ]
    return tuple(sorted(rows, key=lambda row: (-row.edits, row.label)))


def by_step(session: Session, job_id: str) -> tuple[Yield, ...]:
    """The first ``MOST_EDITS`` edits of a job by the step that they change, in its order."""
    some = select(EditRow.step_index, EditRow.reason, EditRow.evidence_kind).where(EditRow.job_id == job_id)
    edits = some.limit(MOST_EDITS).subquery()
    judged = edits.c.evidence_kind.is_not(None)
    conditions = (judged & (edits.c.evidence_kind != EvidenceKind.UNPROVEN), judged & edits.c.reason.is_(None))
    counts = (func.count(), *(func.count().filter(condition) for condition in conditions))
    query = select(edits.c.step_index, *counts).group_by(edits.c.step_index).order_by(edits.c.step_index)
    rows = session.execute(query.limit(_MOST_STEPS)).all()
    return tuple(
        Yield(f"step {at + 1}", total, proven, made, urlencode({"step": at + 1})) for at, total, proven, made in rows
    )


def tokens_per_second(tokens: Mapping[str, int], elapsed: float | None) -> float | None:
    """Generated tokens by the time that a job has run; None before it began or where it generated none."""
    generated = tokens.get("completion", 0)
    return generated / elapsed if generated and elapsed else None
