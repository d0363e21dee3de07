"""From uploaded rows to table rows: parsing first, with no transaction open, then one insert.

Knows the tables but not HTTP's routes; refuses by raising ``api.http.errors``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from api.http.errors import BadRequest, FieldError, Invalid
from api.http.uploads import RawRow, Unreadable
from api.problem_sets.formats import ProblemFields, RowError, SolutionFields, parse_problem, parse_solution
from api.problem_sets.schemas import SolutionsOut
from api.schemas import BadRow
from api.settings import ApiSettings
from models.base import new_id
from models.session import insert_ignore
from models.workspaces import BroughtSolution, ProblemRow, ProblemSet

T = TypeVar("T")
OnBadRow = Literal["report", "refuse"]
_CHUNK = 1000


@dataclass
class Parsed(Generic[T]):
    """Rows taken, each with its line, and rows that were not. ``what`` is one row: "problem" or "solution"."""

    what: str
    document: bool
    rows: list[tuple[int, T]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    bad_count: int = 0

    def reject(self, line: int, reason: str, limit: int) -> None:
        """Count a bad row, and list it while there is room."""
        self.bad_count += 1
        if len(self.bad) < limit:
            self.bad.append({"line": line, "reason": reason})


def parse_problems(
    rows: Iterable[RawRow], settings: ApiSettings, on_bad_row: OnBadRow, *, document: bool
) -> Parsed[ProblemFields]:
    """Problems out of the raw rows of a document or a file. Raises Invalid and BadRequest."""
    parsed = _parse(rows, lambda row: parse_problem(row, settings.field_limit), settings, "problem", document)
    seen: dict[str, int] = {}
    unique = []
    for line, problem in parsed.rows:
        external_id = problem["external_id"]
        if external_id is not None and (first := seen.setdefault(external_id, line)) != line:
            parsed.reject(line, f"id '{external_id}' was used on line {first}", settings.reported_rows)
        else:
            unique.append((line, problem))
    parsed.rows = unique
    _check_complete(parsed, on_bad_row)
    return parsed


def parse_solutions(
    rows: Iterable[RawRow], settings: ApiSettings, on_bad_row: OnBadRow, *, document: bool
) -> Parsed[SolutionFields]:
    """Brought solutions out of the raw rows of a document or a file. Raises Invalid and BadRequest."""
    parsed = _parse(rows, lambda row: parse_solution(row, settings.field_limit), settings, "solution", document)
    _check_complete(parsed, on_bad_row)
    return parsed


def _parse(
    rows: Iterable[RawRow], parse: Callable[[Mapping[str, Any]], T], settings: ApiSettings, what: str, document: bool
) -> Parsed[T]:
    parsed: Parsed[T] = Parsed(what, document)
    try:
        for raw in rows:
            if len(parsed.rows) + parsed.bad_count >= settings.upload_rows:
                raise Invalid.field("file", f"more than {settings.upload_rows} rows", "send it in parts")
            if raw.value is None:
                parsed.reject(raw.line, raw.error or "unreadable", settings.reported_rows)
                continue
            try:
                parsed.rows.append((raw.line, parse(raw.value)))
            except RowError as error:
                parsed.reject(raw.line, str(error), settings.reported_rows)
    except Unreadable as error:
        raise BadRequest(str(error), [FieldError(field="file", message=str(error), remedy="repair the file")]) from None
    return parsed


def _check_complete(parsed: Parsed[Any], on_bad_row: OnBadRow) -> None:
    """Raise Invalid when nothing is left, or something is bad and the sender wants all or nothing."""
    if parsed.rows and not (parsed.bad_count and on_bad_row == "refuse"):
        return
    what = parsed.what
    detail = f"{parsed.bad_count} bad rows" if parsed.rows else f"not one valid {what} in {parsed.bad_count} rows"
    remedy = "correct the row" + (", or send on_bad_row=report to take the others" if parsed.rows else "")
    listed = [FieldError(field=_place(parsed, bad["line"]), message=bad["reason"], remedy=remedy) for bad in parsed.bad]
    raise Invalid(detail, listed or [FieldError(field=f"{what}s", message="empty", remedy=f"send at least one {what}")])


def _place(parsed: Parsed[Any], line: int) -> str:
    return f"{parsed.what}s[{line - 1}]" if parsed.document else f"line {line}"


def content_sha256(parsed: Parsed[ProblemFields]) -> str:
    """A digest of the problems as stored: the same problems give the same digest in whatever format they came."""
    digest = hashlib.sha256()
    for _, problem in parsed.rows:
        digest.update(json.dumps(problem, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def store_problem_set(
    session: Session, workspace_id: str, name: str, domain: str, parsed: Parsed[ProblemFields]
) -> ProblemSet:
    """Insert a set and its problems in the caller's transaction."""
    problem_set = ProblemSet(
        id=new_id("pset"),
        workspace_id=workspace_id,
        name=name,
        domain=domain,
        problem_count=len(parsed.rows),
        content_sha256=content_sha256(parsed),
        rejected=parsed.bad,
    )
    session.add(problem_set)
    session.flush()
    # In chunks: one statement's parameters are limited, and so is the memory for them.
    for start in range(0, len(parsed.rows), _CHUNK):
        chunk = parsed.rows[start : start + _CHUNK]
        session.execute(
            insert(ProblemRow),
            [
                {"id": new_id("prob"), "problem_set_id": problem_set.id, "position": position, **problem}
                for position, (_, problem) in enumerate(chunk, start=start)
            ],
        )
    return problem_set


def store_solutions(
    session: Session,
    problem_set: ProblemSet,
    parsed: Parsed[SolutionFields],
    settings: ApiSettings,
    on_bad_row: OnBadRow,
) -> SolutionsOut:
    """Insert brought solutions in the caller's transaction. Raises Invalid when none can be taken.

    A problem and source that came before with the same text are left as they are, with another text refused.
    """
    problems = _problem_ids(session, problem_set.id)
    seen = _digests(session, problem_set.id)
    received = len(parsed.rows) + parsed.bad_count
    taken, new = [], []
    for line, solution in parsed.rows:
        problem_id = problems.get(solution.problem)
        if problem_id is None:
            parsed.reject(line, f"the set has no problem '{str(solution.problem)[:80]}'", settings.reported_rows)
            continue
        # Two sources may write the same text; one source has one solution of a problem.
        key, digest = (problem_id, solution.source), _digest(solution.text)
        first = seen.setdefault(key, "")
        if first not in ("", digest):
            reason = f"source '{solution.source}' already has another solution of this problem"
            parsed.reject(line, reason, settings.reported_rows)
            continue
        taken.append((line, solution))
        if not first:
            seen[key] = digest
            new.append(_row(problem_set.id, problem_id, solution))
    parsed.rows = taken
    _check_complete(parsed, on_bad_row)
    # Another request may have brought the same ones meanwhile: they then count as existing.
    added = insert_ignore(session, BroughtSolution, new)
    return SolutionsOut(
        problem_set=problem_set.id,
        received=received,
        added=added,
        existing=len(taken) - added,
        rejected_count=parsed.bad_count,
        rejected=[BadRow(**bad) for bad in parsed.bad],
    )


def _row(problem_set_id: str, problem_id: str, solution: SolutionFields) -> dict[str, Any]:
    return {
        "id": new_id("bro"),
        "problem_set_id": problem_set_id,
        "problem_id": problem_id,
        "source": solution.source,
        "text": solution.text,
        "label": solution.label,
    }


def _problem_ids(session: Session, problem_set_id: str) -> dict[int | str, str]:
    """Every name of every problem: position, external id, id."""
    query = select(ProblemRow.id, ProblemRow.position, ProblemRow.external_id)
    names: dict[int | str, str] = {}
    for row_id, position, external_id in session.execute(query.where(ProblemRow.problem_set_id == problem_set_id)):
        names[position] = row_id
        names[row_id] = row_id
        if external_id is not None:
            names[external_id] = row_id
    return names


def _digests(session: Session, problem_set_id: str) -> dict[tuple[str, str], str]:
    """Digest of the text of every solution the set has; texts themselves are not kept in memory."""
    query = select(BroughtSolution.problem_id, BroughtSolution.source, BroughtSolution.text)
    rows = session.execute(
        query.where(BroughtSolution.problem_set_id == problem_set_id).execution_options(yield_per=_CHUNK)
    )
    return {(problem_id, source): _digest(text) for problem_id, source, text in rows}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
