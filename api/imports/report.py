"""What an import tells of a file: rows taken, and the others by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from api.http.errors import FieldError, Invalid

_REASONS = 100  # told apart; more are counted together
_LINES = 5  # first rows that are named of each reason
_OTHERS = "other reasons"


@dataclass
class Complaints:
    """Bad rows, equal complaints as one, with a count and the first lines."""

    count: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, line: int, reason: str) -> None:
        """Count a bad row."""
        self.count += 1
        if reason not in self._counts and len(self._counts) >= _REASONS:
            reason = _OTHERS
        self._counts[reason] += 1
        lines = self._lines.setdefault(reason, [])
        if len(lines) < _LINES:
            lines.append(line)

    def listed(self) -> list[dict[str, Any]]:
        """Reason, number of rows and first lines, the most frequent reason first."""
        reasons = sorted(self._counts.items(), key=lambda item: -item[1])
        return [{"reason": reason, "count": count, "lines": self._lines[reason]} for reason, count in reasons]

    def refusal(self, detail: str, remedy: str) -> Invalid:
        """All of them as one refusal."""
        return Invalid(
            detail,
            [
                FieldError(field=f"line {told['lines'][0]}", message=_counted(told), remedy=remedy)
                for told in self.listed()
            ],
        )


def _counted(told: dict[str, Any]) -> str:
    return told["reason"] if told["count"] == 1 else f"{told['reason']} ({told['count']} rows)"


@dataclass
class Report:
    """Counts of an import. Each row is a pair, a sample, a duplicate, a bad row, or a side: paired, or left over."""

    rows: int = 0
    pairs: int = 0
    steps: int = 0
    samples: int = 0
    duplicates: int = 0
    plain: int = 0
    messages: int = 0
    texts: int = 0
    own: int = 0
    train: int = 0
    unpaired: dict[str, int] = field(default_factory=dict)
    complaints: Complaints = field(default_factory=Complaints)

    @property
    def conversational(self) -> bool:
        """Whether prompts are written as messages: some cannot be said as one text."""
        return self.messages > self.plain

    def as_dict(self) -> dict[str, Any]:
        """For the dataset's row, the answer and the card."""
        counts = ("rows", "pairs", "steps", "samples", "duplicates")
        return {
            **{name: getattr(self, name) for name in counts},
            "unpaired": self.unpaired,
            "rejected_count": self.complaints.count,
            "rejected": self.complaints.listed(),
            "conversational": self.conversational,
            "verbatim_prompts": self.texts,
            "own_prompts": self.own,
        }
