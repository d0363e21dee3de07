"""The rests of pairs (errata.rests), found from stored rows: when pairs are made, and for older ones when frozen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from errata.rests import Candidate, LeftOut, Rest, RestKind, RestSource, chosen_rest, rest_candidates, settled_rest
from errata.thoughts import Markers
from errata.types import Domain
from models.jobs import EditRow, PairRow, SolutionRow
from models.workspaces import ProblemRow
from workers.stages.base import StageContext
from workers.stages.isolation import ProblemErrors
from workers.stages.loading import judge_texts

_READ = ("type", "chosen", "rejected", "start", "end", "step_index", "form", "error_kind", "evidence_kind", "editor")
_PAGE = 500  # pairs read at a time
CUT = "length"  # an engine's word for a text that ended at its limit of tokens


@dataclass(frozen=True)
class MadePair:
    """A pair's columns with the rows it was made of. ``incorrect``: the rejected solution of a full pair."""

    columns: dict[str, Any]
    problem: ProblemRow
    solution: SolutionRow
    incorrect: SolutionRow | None = None
    edit: EditRow | None = None


def find_rests(
    context: StageContext,
    domain: Domain,
    thoughts: Markers,
    pairs: Sequence[MadePair],
    errors: ProblemErrors | None = None,
) -> list[Rest | None]:
    """What follows each pair's step, in order. Asks the judge for the answers of what may follow, in one batch.

    With ``errors`` a problem for which this raises is set aside, and its pair has None; without, it raises.
    """
    found: list[Rest | None] = [None] * len(pairs)
    waiting: list[tuple[int, RestSource, list[Candidate]]] = []
    for at, pair in enumerate(pairs):
        with nullcontext() if errors is None else errors.of(pair.problem.id):
            source = None if pair.columns["type"] == "full" else _source(pair, domain)
            found[at] = _full_rest(pair) if source is None else settled_rest(source)
            if source is not None and found[at] is None:
                waiting.append((at, source, list(rest_candidates(source))))
    texts = [(pairs[at].problem, source.before + each.text) for at, source, tried in waiting for each in tried]
    verdicts = iter([judged.verdict for judged in judge_texts(context, domain, texts, thoughts)] if texts else [])
    for at, source, tried in waiting:
        found[at] = chosen_rest(source, [(each, next(verdicts)) for each in tried])
    return found


def older_rests(
    context: StageContext,
    session: Session,
    ids: Sequence[str],
    domain: Domain,
    thoughts: Markers,
) -> dict[str, Rest]:
    """The rests of one job's pairs that were made before rests were stored, by pair id; an unknown id is left out."""
    found: dict[str, Rest] = {}
    for at in range(0, len(ids), _PAGE):
        found |= _older(context, session, ids[at : at + _PAGE], domain, thoughts)
    return found


def _older(
    context: StageContext, session: Session, ids: Sequence[str], domain: Domain, thoughts: Markers
) -> dict[str, Rest]:
    incorrect = aliased(SolutionRow)
    query = (
        select(PairRow, ProblemRow, SolutionRow, incorrect, EditRow)
        .join(ProblemRow, ProblemRow.id == PairRow.problem_id)
        .join(SolutionRow, SolutionRow.id == PairRow.solution_id)
        .outerjoin(incorrect, incorrect.id == PairRow.rejected_solution_id)
        .outerjoin(EditRow, EditRow.id == PairRow.edit_id)
        .where(PairRow.id.in_(ids))
        .order_by(PairRow.id)
    )
    rows = session.execute(query).all()
    made = [MadePair({name: getattr(row[0], name) for name in _READ}, *row[1:]) for row in rows]
    rests = find_rests(context, domain, thoughts, made)
    return {row[0].id: rest for row, rest in zip(rows, rests, strict=True) if rest is not None}


def _full_rest(pair: MadePair) -> Rest:
    solutions = (pair.solution, pair.incorrect)
    cut = any(solution is not None and solution.finish_reason == CUT for solution in solutions)
    return Rest(None, why=LeftOut.CUT) if cut else Rest(RestKind.OWN)


def _source(pair: MadePair, domain: Domain) -> RestSource:
    columns, solution = pair.columns, pair.solution
    continued = (pair.edit.continuations if pair.edit is not None else None) or {}
    # Without the row of its edit a pair of mode ``dynamic`` is known by a chosen side that is longer than its step.
    given = continued.get("rest")
    text, end, is_mined = solution.text, columns["end"], columns.get("editor") == "mined"
    if given is None and not is_mined and len(columns["chosen"]) != end - columns["start"]:
        given = ("", "")
    if is_mined:
        # The chosen side may be another sample of the step than the solution's own.
        original = columns["chosen"] if pair.edit is None else pair.edit.original
        text, end = text[: columns["start"]] + original + text[end:], columns["start"] + len(original)
    return RestSource(
        question=pair.problem.question,
        solution=text,
        start=columns["start"],
        end=end,
        step=columns["step_index"],
        edited=columns["rejected"],
        domain=domain,
        form=columns["form"],
        error_kind=columns["error_kind"],
        evidence=columns["evidence_kind"],
        continuations=_uncut(continued),
        given=None if given is None else (given[0], given[1]),
        cut=solution.finish_reason == CUT,
    )


def _uncut(continued: dict[str, Any]) -> list[str]:
    """Continuations of the edited step that ended by themselves, as far as their engine's word on it was stored."""
    texts = continued.get("edited") or []
    reasons = continued.get("edited_finish") or [None] * len(texts)
    return [text for text, reason in zip(texts, reasons, strict=True) if reason != CUT]
