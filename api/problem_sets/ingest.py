"""From uploaded rows to a problem set: few rows are kept and inserted at once, many are stored while more are read.

A million problems pass through here without ever standing in memory or in one transaction. Knows the tables but not
HTTP's routes; refuses by raising ``api.http.errors``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from types import TracebackType
from typing import Any, Literal

import orjson

from api.http.errors import BadRequest, FieldError, Invalid
from api.http.uploads import RawRow, Unreadable
from api.problem_sets import mapping as mappings
from api.problem_sets.complaints import FIRST_ROWS, Complaints
from api.problem_sets.formats import ProblemFields, RowError, parse_problem
from api.problem_sets.mapping import ColumnMapping
from api.problem_sets.names import Names
from api.settings import ApiSettings
from models.base import new_id, new_ids
from models.bulk import RowFile
from models.receiving import Receiving
from models.session import Database
from models.workspaces import ProblemRow

OnBadRow = Literal["report", "refuse"]
_FIRST_ROWS = 1000  # that show which columns a file has
_BATCH = 128  # texts of more rows would be mapped and unmapped by every step (api.http.memory)
_PIECE_BYTES = 4 * 1024 * 1024  # from which rows are stored before the last one has been read
_KEPT_METAS = 64
_USED = "the last one, with those its sentence lists, is the gold answer; give 'answer' to choose another"
_COLUMNS = (
    *("id", "problem_set_id", "position", "external_id", "question", "gold_answer", "gold_solution"),
    *("subject", "level", "meta"),
)
# What json.dumps(problem, sort_keys=True) writes, put together from its parts: the digest has always been of that.
_CANONICAL = (
    b'{"external_id": %b, "gold_answer": %b, "gold_solution": %b, "level": %b, "meta": %b, "question": %b,'
    b' "subject": %b}\n'
)


@dataclass(frozen=True)
class Reading:
    """How rows are read. ``criteria``: what every problem's ``meta`` holds that does not say otherwise."""

    settings: ApiSettings
    on_bad_row: OnBadRow
    document: bool  # rows of a JSON document, not of a file
    criteria: Mapping[str, Any] = field(default_factory=dict)
    mapping: ColumnMapping | None = None


class ProblemFile:
    """The problems of an upload, and what is to be told about its rows.

    Few wait in ``rows`` to be inserted; of many those before the last piece are stored already, where nobody sees them.
    """

    def __init__(self, reading: Reading, db: Database | None = None) -> None:
        """``db``: where many rows are stored while more are read; without one they all wait."""
        self.set_id = new_id("pset")
        self.count = 0
        self.bad = Complaints(reading.settings.reported_rows)
        self.notes = Complaints(reading.settings.reported_rows, "note")
        self._reading = reading
        self._digest = hashlib.sha256()
        self._metas: dict[tuple[tuple[str, Any], ...], str] = {}
        with ExitStack() as stack:
            kept = 2 * _PIECE_BYTES if db else _PIECE_BYTES // 4
            self.rows = stack.enter_context(RowFile(ProblemRow, _COLUMNS, kept))
            self.receiving = stack.enter_context(Receiving(db, self.set_id, _COLUMNS)) if db else None
            self._ids = stack.enter_context(Names())
            self._stack = stack.pop_all()

    @property
    def stored(self) -> bool:
        """Whether the problems are in the database already, for ``store_problem_set`` to show."""
        return self.receiving is not None and self.receiving.begun

    @property
    def content_sha256(self) -> str:
        """A digest of the problems as stored: the same problems give the same one in whatever format they came."""
        return self._digest.hexdigest()

    def add(self, rows: Iterable[RawRow]) -> None:
        """Read some rows, in their order."""
        limit, mapping = self._reading.settings.field_limit, self._reading.mapping
        parse = mapping.problem if mapping else parse_problem
        parsed: list[tuple[int, ProblemFields]] = []
        for line, value, error, like in rows:
            if value is None:
                self.bad.add(line, error or "unreadable", like)
                continue
            try:
                parsed.append((line, parse(value, limit)))
            except RowError as refusal:
                self.bad.add(line, str(refusal), refusal.like)
        self._store(self._unique(parsed))
        if self.receiving and self.rows.size >= _PIECE_BYTES:
            self.receiving.add(self.rows.take())

    def finish(self) -> None:
        """After the last row: wait until all is stored, where some is."""
        if self.receiving and self.stored:
            self.receiving.add(self.rows.take())
            self.receiving.finish()

    def _unique(self, parsed: Sequence[tuple[int, ProblemFields]]) -> list[ProblemFields]:
        """The problems whose ids are new, and notes about them."""
        named = [(problem["external_id"], line) for line, problem in parsed if problem["external_id"] is not None]
        used = self._ids.add(named) if named else {}
        unique = []
        for line, problem in parsed:
            if line in used and problem["external_id"] is not None:
                reason = f"id '{problem['external_id']}' was used on line {used[line]}"
                self.bad.add(line, reason, "an id that was used before")
                continue
            meta = problem["meta"]
            if self._reading.criteria:
                problem["meta"] = meta = {**self._reading.criteria, **meta}
            if "boxes" in meta and meta.get("format") == "math":
                self.notes.add(line, f"{meta['boxes']} boxes in the solution: {_USED}")
            unique.append(problem)
        return unique

    def _store(self, problems: Sequence[ProblemFields]) -> None:
        """Write problems to the file, and into the digest: a batch at once, which is what makes it quick."""
        ids, set_id, written = new_ids("prob", len(problems)), self.set_id, self._written
        rows, metas = [], []
        for position, (row_id, problem) in enumerate(zip(ids, problems, strict=True), start=self.count):
            question, gold, solution = problem["question"], problem["gold_answer"], problem["gold_solution"]
            name, subject, level = problem["external_id"], problem["subject"], problem["level"]
            meta = written(problem["meta"])
            metas.append(meta)
            rows.append((row_id, set_id, str(position), name, question, gold, solution, subject, level, meta))
        self.count += len(rows)
        self._digest.update(_canonical(problems, metas))
        self.rows.add(rows)

    def _written(self, meta: dict[str, Any]) -> str:
        """``meta`` as JSON. Most rows of a file have the same few texts in it."""
        key = tuple(meta.items())
        try:
            if (known := self._metas.get(key)) is not None:
                return known
        except TypeError:  # lists and objects cannot be looked up
            return json.dumps(meta, sort_keys=True)
        written = json.dumps(meta, sort_keys=True)
        # 1, 1.0 and true are equal, and so are two orders of the same keys: only texts are sure to be written alike.
        if len(self._metas) < _KEPT_METAS and all(isinstance(value, str) for value in meta.values()):
            self._metas[key] = written
        return written

    def __enter__(self) -> ProblemFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None) -> None:
        self._stack.__exit__(kind, e, t)


def _canonical(problems: Sequence[ProblemFields], metas: Sequence[str]) -> bytes:
    """The problems as ``json.dumps`` writes them. ``metas``: their ``meta``, written already."""
    written = _written_by(orjson.dumps, problems, metas)
    # Of plain ASCII both write the same, orjson in a fifth of the time; but it escapes no DEL and nothing beyond ASCII.
    return written if written.isascii() and b"\x7f" not in written else _written_by(_quoted, problems, metas)


def _quoted(text: str | None) -> bytes:
    return json.dumps(text).encode()


def _written_by(write: Callable[[str | None], bytes], problems: Sequence[ProblemFields], metas: Sequence[str]) -> bytes:
    return b"".join(
        [
            _CANONICAL
            % (
                write(problem["external_id"]),
                write(problem["gold_answer"]),
                write(problem["gold_solution"]),
                write(problem["level"]),
                meta.encode(),
                write(problem["question"]),
                write(problem["subject"]),
            )
            for problem, meta in zip(problems, metas, strict=True)
        ]
    )


def read_problems(
    rows: Iterator[RawRow], header: Collection[str], reading: Reading, db: Database | None = None
) -> ProblemFile:
    """Problems out of the raw rows of a document or a file; the caller closes them. Raises Invalid and BadRequest.

    ``header``: filled by the time the first row comes, where the file has one. ``db``: see ProblemFile.
    """
    with ExitStack() as stack:
        problems = stack.enter_context(ProblemFile(reading, db))
        try:
            first = list(islice(rows, _FIRST_ROWS))
            columns = _columns(first, header, reading.mapping)
            received = 0
            rest = chain(first, rows)
            while batch := list(islice(rest, _BATCH)):
                received += len(batch)
                if received > reading.settings.upload_rows:
                    raise Invalid.field("file", f"more than {reading.settings.upload_rows} rows", "send it in parts")
                problems.add(batch)
        except Unreadable as error:
            raise unreadable(error) from None
        hint = (
            f"; the columns are {mappings.shown(columns)}: name those that you mean with 'mapping'" if columns else ""
        )
        check_complete("problem", problems.count, problems.bad, reading, hint)
        problems.finish()
        stack.pop_all()
        return problems


def _columns(first: Sequence[RawRow], header: Collection[str], mapping: ColumnMapping | None) -> list[str]:
    """The columns of the file. Raises Invalid for mapped ones that it does not have."""
    values = [raw.value for raw in first if raw.value is not None]
    columns = mappings.columns_of(header, values)
    missing = mapping.missing(header, values) if mapping and values else {}
    if missing:
        raise Invalid(
            f"the file has no column '{next(iter(missing.values()))[:80]}'",
            [
                FieldError(
                    field=f"mapping.{name}",
                    message=f"the file has no column '{column[:80]}'",
                    remedy=mappings.remedy(column, columns),
                )
                for name, column in missing.items()
            ],
        )
    return columns


def unreadable(error: Unreadable) -> BadRequest:
    """The refusal of a file that is not what it claims to be."""
    message, remedy = error.told()
    return BadRequest(str(error), [FieldError(field="file", message=message, remedy=remedy)])


def check_complete(what: str, taken: int, bad: Complaints, reading: Reading, hint: str = "") -> None:
    """Raise Invalid when nothing is left, or something is bad and the sender wants all or nothing.

    ``what``: one row, "problem" or "solution". ``hint``: what to say beside the remedy where no row could be taken.
    """
    if taken and not (bad.count and reading.on_bad_row == "refuse"):
        return
    detail = f"{bad.count} bad rows" if taken else f"not one valid {what} in {bad.count} rows"
    remedy = "correct the row" + (", or send on_bad_row=report to take the others" if taken else hint)
    listed = [
        FieldError(field=_place(what, entry["line"], reading), message=_counted(entry), remedy=remedy)
        for entry in bad.listed()
    ]
    raise Invalid(detail, listed or [FieldError(field=f"{what}s", message="empty", remedy=f"send at least one {what}")])


def _place(what: str, line: int, reading: Reading) -> str:
    return f"{what}s[{line - 1}]" if reading.document else f"line {line}"


def _counted(entry: Mapping[str, Any]) -> str:
    if entry["count"] == 1:
        return str(entry["reason"])
    lines = ", ".join(map(str, entry["lines"][:FIRST_ROWS]))
    return f"{entry['reason']} ({entry['count']} rows; the first: {lines})"
