"""One pair: the injected error in its solution, how it was made, and its proof in words (docs/method.md, step 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from api.pages.diff import Run, diff, plain
from api.pages.format import as_share, percent, short, visible
from api.pages.pair_parts import beside
from errata.config import InjectionConfig
from errata.steps import split_steps
from errata.thoughts import Markers
from errata.types import Domain, Step
from models.jobs import EditRow, InjectionJob, PairRow, SolutionRow
from models.workspaces import ProblemRow, ProblemSet

_SENTENCES = {
    "contradiction": "An equation in the edited step is false; the same place in the original was true.",
    "identity": "An identity of the original step holds for all values; the edited one fails at the values given.",
    "replay": "Every calculation from the edit to the answer was followed with the edited value, and misses gold.",
    "divergence": "Continuing from the edited step misses the right answer far more often than from the original.",
    "verifier": "The edited whole fails its checker; the original passes.",
    "unproven": "Nothing shows that the edit is wrong. It was kept by the job's policy.",
}
_FULL_PAIR = "Two solutions of the same problem: one reaches the right answer, the other does not."


@dataclass(frozen=True, slots=True)
class Piece:
    """A step of a solution for display; ``number`` counts from 1, None where it is not a step of its own."""

    number: int | None
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of continuations that miss the right answer, with its interval, each from 0 to 1."""

    label: str
    value: float
    low: float
    high: float
    edited: bool

    @property
    def text(self) -> str:
        """ "88 % (64 to 99 %)"."""
        if (self.low, self.high) == (self.value, self.value):
            return percent(self.value)
        return f"{percent(self.value)} ({percent(self.low).removesuffix(' %')} to {percent(self.high)})"


@dataclass(frozen=True, slots=True)
class Proof:
    """What the proof card shows; fields that do not apply are empty."""

    sentence: str
    equation: str | None = None
    left: str | None = None
    right: str | None = None
    original: str | None = None
    rates: tuple[Rate, ...] = ()
    note: str | None = None


def proof_of(kind: str | None, detail: dict[str, Any], pair_type: str) -> Proof:
    """The proof card of a pair. A full pair without evidence of its own is proven by its two verdicts."""
    if kind is None:
        return Proof(_FULL_PAIR if pair_type == "full" else "")
    sentence = _SENTENCES.get(kind, "")
    if kind in ("contradiction", "identity"):
        equation, left, right, original = (_text(detail, name) for name in ("equation", "left", "right", "original"))
        return Proof(sentence, equation, left, right, original, note=_point(detail.get("at")))
    if kind == "replay":
        equation, answer, original = (_text(detail, name) for name in ("equation", "answer", "original"))
        return Proof(sentence, equation, original=original, note=f"With it the solution comes to {answer}.")
    note = _text(detail, "report") or _text(detail, "why")
    if note is None and (count := _text(detail, "k")):
        note = f"{count} continuations from each step."
    return Proof(sentence, rates=tuple(_rates(detail)), note=note)


def _point(values: Any) -> str | None:
    """The values at which an identity fails."""
    if not isinstance(values, dict):
        return None
    return "At " + ", ".join(f"{visible(str(name))} = {visible(str(value))}" for name, value in values.items()) + "."


def _text(detail: dict[str, Any], name: str) -> str | None:
    value = detail.get(name)
    return None if value is None or value == "" else visible(str(value))


def _rates(detail: dict[str, Any]) -> list[Rate]:
    """Rates the detail holds; one without an interval stands alone."""
    rates = []
    for label, prefix in (("From the edited step", ""), ("From the original", "original_")):
        value, low, high = (as_share(detail.get(prefix + name)) for name in ("rate", "low", "high"))
        if value is not None:
            ends = (value if low is None else low, value if high is None else high)
            rates.append(Rate(label, value, *ends, edited=not prefix))
    return rates


def pair_context(session: Session, row: PairRow) -> dict[str, Any]:
    """What the page of a pair shows. ``changed`` is None for a full pair: two solutions, not an edit."""
    job = session.get_one(InjectionJob, row.job_id)
    solution = session.get_one(SolutionRow, row.solution_id)
    rejected = session.get(SolutionRow, row.rejected_solution_id) if row.rejected_solution_id else None
    edit = session.get(EditRow, row.edit_id) if row.edit_id else None
    problem = session.get_one(ProblemRow, row.problem_id)
    domain = Domain(session.get_one(ProblemSet, problem.problem_set_id).domain)
    whole = row.type == "full"
    markers = InjectionConfig.model_validate(job.config).thoughts.in_steps
    earlier, later = ((), ()) if whole else _around(row, solution, domain, markers)
    return {
        "row": row,
        "job_name": job.name or job.id,
        "step_number": None if row.step_index is None else row.step_index + 1,
        "earlier": earlier,
        "later": later,
        "changed": None if whole else diff(visible(row.chosen), visible(row.rejected)),
        "chosen": _whole(row.chosen, domain, markers) if whole else (),
        "rejected": _whole(row.rejected, domain, markers) if whole else (),
        "proof": proof_of(row.evidence_kind, row.evidence or {}, row.type),
        "gold_answer": problem.gold_answer,
        "chosen_answer": solution.extracted,
        "rejected_answer": rejected.extracted if rejected else None,
        "provenance": _provenance(row, solution, edit),
        **beside(session, row, solution, edit, domain),
    }


def _around(
    row: PairRow, solution: SolutionRow, domain: Domain, thoughts: Markers
) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """The solution's steps before the edited one and behind it, as they stand in the stored solution.

    Later steps are left out where the pair's sides already hold what follows.
    """
    steps = split_steps(solution.text, domain, thoughts)
    if row.start is None or row.end is None or row.step_index is None:
        return (), ()
    if not (row.step_index < len(steps) and steps[row.step_index].start == row.start):
        # The pair was made under other rules of cutting: step numbers would be wrong, so the text stands without them.
        return (Piece(None, plain(visible(row.prefix.strip()))),), ()
    # A side longer than its step (mode ``dynamic``) holds the later steps already, and so ends as the solution does.
    behind = solution.text[row.end :]
    follows = row.chosen == solution.text[row.start : row.end] or not row.chosen.endswith(behind)
    later = steps[row.step_index + 1 :] if follows else ()
    return _pieces(solution.text, steps[: row.step_index], preamble=True), _pieces(solution.text, later)


def _pieces(text: str, steps: Sequence[Step], *, preamble: bool = False) -> tuple[Piece, ...]:
    shown = [Piece(step.index + 1, plain(visible(text[step.start : step.end].strip()))) for step in steps]
    before = text[: steps[0].start].strip() if steps else ""
    if preamble and before:
        shown.insert(0, Piece(None, plain(visible(before))))
    return tuple(shown)


def _whole(text: str, domain: Domain, thoughts: Markers) -> tuple[Piece, ...]:
    return _pieces(text, split_steps(text, domain, thoughts), preamble=True)


def _slip(edit: EditRow | None) -> str | None:
    """How likely the model's own error was, for an edit that is one."""
    told = edit.attempts[-1].get("slip") if edit and edit.attempts else None
    return f"{told['old']} became {told['new']}, {percent(told['probability'])} likely" if told else None


def _provenance(row: PairRow, solution: SolutionRow, edit: EditRow | None) -> Sequence[tuple[str, str]]:
    by_model = row.language_model is not None
    facts = [
        ("Solution by", solution.source),
        ("Edited by", None if row.type == "full" else row.language_model or row.prompt_version),
        ("Editor", row.editor),
        ("Slip", _slip(edit)),
        ("Error rate", None if row.error_rate is None else f"{percent(row.error_rate)} of the model's own samples"),
        ("Prompt", row.prompt_version if by_model else None),
        ("Seed", None if row.seed is None else str(row.seed)),
        ("Replies needed", str(len(edit.attempts)) if edit and len(edit.attempts) > 1 else None),
        ("Characters", None if row.start is None or row.end is None else f"{row.start}–{row.end} of the solution"),
    ]
    return [(label, short(value)) for label, value in facts if value]
