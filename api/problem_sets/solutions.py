"""Brought solutions: read to disk, then matched with their problems and inserted, a batch at a time."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import IO, Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from api.http.uploads import RawRow, Unreadable
from api.problem_sets.complaints import Complaints
from api.problem_sets.formats import RowError, SolutionFields, parse_solution
from api.problem_sets.ingest import Reading, check_complete, unreadable
from api.problem_sets.names import Names
from api.problem_sets.schemas import SolutionsOut
from api.schemas import BadRow
from models.base import new_ids
from models.session import insert_ignore
from models.workspaces import BroughtSolution, ProblemRow, ProblemSet

_IN_MEMORY = 1024 * 1024
_BATCH = 1000
_Line = tuple[int, SolutionFields]


class SolutionFile:
    """The solutions of an upload, on disk, and the rows that were none."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.received = self.taken = 0
        self.bad = Complaints(reading.settings.reported_rows)
        self._file = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115

    def add(self, rows: Iterable[RawRow]) -> None:
        """Read rows, in their order. Raises Invalid for more than an upload may have."""
        settings = self.reading.settings
        for line, value, error, like in rows:
            self.received += 1
            if self.received > settings.upload_rows:
                raise Invalid.field("file", f"more than {settings.upload_rows} rows", "send it in parts")
            if value is None:
                self.bad.add(line, error or "unreadable", like)
                continue
            try:
                row = parse_solution(value, settings.field_limit)
            except RowError as refusal:
                self.bad.add(line, str(refusal), refusal.like)
                continue
            self.taken += 1
            self._file.write(json.dumps([line, row.problem, row.source, row.text, row.label]).encode() + b"\n")

    def batches(self) -> Iterator[list[_Line]]:
        """The solutions with their lines, in their order."""
        self._file.seek(0)
        while batch := [json.loads(line) for line in islice(self._file, _BATCH)]:
            yield [(line, SolutionFields(*fields)) for line, *fields in batch]

    def __enter__(self) -> SolutionFile:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._file.close()


def read_solutions(rows: Iterable[RawRow], reading: Reading) -> SolutionFile:
    """Brought solutions out of raw rows; the caller closes them. Raises Invalid and BadRequest."""
    solutions = SolutionFile(reading)
    try:
        solutions.add(rows)
        check_complete("solution", solutions.taken, solutions.bad, reading)
    except Unreadable as error:
        solutions._file.close()
        raise unreadable(error) from None
    except BaseException:
        solutions._file.close()
        raise
    return solutions


def store_solutions(session: Session, problem_set: ProblemSet, solutions: SolutionFile) -> SolutionsOut:
    """Insert brought solutions in the caller's transaction. Raises Invalid when none can be taken.

    A problem and source that came before with the same text are left as they are, with another text refused.
    """
    taken = added = 0
    with _Problems(session, problem_set.id) as problems:
        for batch in solutions.batches():
            known = problems.ids([row.problem for _, row in batch])
            found, new = _sorted_out(session, batch, known, solutions.bad)
            taken += found
            ids = new_ids("bro", len(new))
            rows = [{"id": i, "problem_set_id": problem_set.id, **row} for i, row in zip(ids, new, strict=True)]
            # Another request may have brought the same ones meanwhile: they then count as existing.
            added += insert_ignore(session, BroughtSolution, rows)
    check_complete("solution", taken, solutions.bad, solutions.reading)
    return SolutionsOut(
        problem_set=problem_set.id,
        received=solutions.received,
        added=added,
        existing=taken - added,
        rejected_count=solutions.bad.count,
        rejected=[BadRow(**bad) for bad in solutions.bad.listed()],
    )


def _sorted_out(
    session: Session, batch: Sequence[_Line], known: dict[int | str, str], bad: Complaints
) -> tuple[int, list[dict[str, Any]]]:
    """How many of the batch are taken, and the rows of those that are new."""
    seen = _digests(session, set(known.values()))
    taken, new = 0, []
    for line, row in batch:
        problem_id = known.get(row.problem)
        if problem_id is None:
            bad.add(line, f"the set has no problem '{str(row.problem)[:80]}'", "the set has no such problem")
            continue
        # Two sources may write the same text; one source has one solution of a problem.
        digest = _digest(row.text)
        first = seen.setdefault((problem_id, row.source), "")
        if first not in ("", digest):
            bad.add(line, f"source '{row.source}' already has another solution of this problem")
            continue
        taken += 1
        if not first:
            seen[problem_id, row.source] = digest
            new.append({"problem_id": problem_id, "source": row.source, "text": row.text, "label": row.label})
    return taken, new


class _Problems:
    """Ids of a set's problems by what a sender may call them: position, id, external id."""

    def __init__(self, session: Session, problem_set_id: str) -> None:
        self._session, self._set_id = session, problem_set_id
        self._names: Names | None = None

    def ids(self, problems: Sequence[int | str]) -> dict[int | str, str]:
        """Ids by what the problems are called; those that the set does not have are left out."""
        texts = {name for name in problems if isinstance(name, str)}
        found: dict[int | str, str] = {row_id: row_id for row_id, _ in self._select(ProblemRow.id.in_(texts))}
        places = {name: name for name in problems if isinstance(name, int) and 0 <= name < 2**31}
        if missing := texts - found.keys():
            names = self._names = self._names or self._read_names()
            places |= {name: at for name in missing if (at := names.number(name)) is not None}  # type: ignore[misc]
        by_position = {at: row_id for row_id, at in self._select(ProblemRow.position.in_(set(places.values())))}
        return found | {name: by_position[at] for name, at in places.items() if at in by_position}

    def _select(self, condition: Any) -> Any:
        query = select(ProblemRow.id, ProblemRow.position).where(ProblemRow.problem_set_id == self._set_id, condition)
        return self._session.execute(query)

    def _read_names(self) -> Names:
        """The external ids, on disk: they have no index, and a million of them do not belong in memory."""
        names = Names()
        query = select(ProblemRow.external_id, ProblemRow.position).where(ProblemRow.problem_set_id == self._set_id)
        rows = self._session.execute(query.execution_options(yield_per=_BATCH))
        for part in rows.partitions(_BATCH):
            names.add([(name, position) for name, position in part if name is not None])
        return names

    def __enter__(self) -> _Problems:
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if self._names is not None:
            self._names.__exit__(None, None, None)


def _digests(session: Session, problem_ids: set[str]) -> dict[tuple[str, str], str]:
    """Digest of the text of every solution these problems have; texts themselves are not kept in memory."""
    query = select(BroughtSolution.problem_id, BroughtSolution.source, BroughtSolution.text)
    rows = session.execute(query.where(BroughtSolution.problem_id.in_(problem_ids)))
    return {(problem_id, source): _digest(text) for problem_id, source, text in rows}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
