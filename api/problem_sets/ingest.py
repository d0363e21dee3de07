"""From uploaded rows to a problem set: read to disk with no transaction open, then inserted in one.

A million problems pass through here without ever standing in memory. Knows the tables but not HTTP's routes; refuses by
raising ``api.http.errors``.
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
from models.workspaces import ProblemRow

OnBadRow = Literal["report", "refuse"]
_BATCH = 1000
_KEPT_METAS = 64
_USED = "the last one, with those its sentence lists, is the gold answer; give 'answer' to choose another"
_COLUMNS = (
    *("id", "problem_set_id", "position", "external_id", "question", "gold_answer", "gold_solution"),
    *("subject", "level", "meta"),
)
# What json.dumps(problem, sort_keys=True) writes, put together from its parts: the digest has always been of that.
_CANONICAL = (
    '{{"external_id": {}, "gold_answer": {}, "gold_solution": {}, "level": {}, "meta": {}, "question": {},'
    ' "subject": {}}}\n'
).format


_quoted: Callable[[str], str] = json.encoder.encode_basestring_ascii


@dataclass(frozen=True)
class Reading:
    """How rows are read. ``criteria``: what every problem's ``meta`` holds that does not say otherwise."""

    settings: ApiSettings
    on_bad_row: OnBadRow
    document: bool  # rows of a JSON document, not of a file
    criteria: Mapping[str, Any] = field(default_factory=dict)
    mapping: ColumnMapping | None = None


class ProblemFile:
    """The problems of an upload, on disk and ready to be inserted, and what is to be told about its rows."""

    def __init__(self, reading: Reading) -> None:
        self.set_id = new_id("pset")
        self.count = 0
        self.bad = Complaints(reading.settings.reported_rows)
        self.notes = Complaints(reading.settings.reported_rows, "note")
        self._reading = reading
        self._digest = hashlib.sha256()
        self._metas: dict[tuple[tuple[str, Any], ...], str] = {}
        with ExitStack() as stack:
            self.rows = stack.enter_context(RowFile(ProblemRow, _COLUMNS))
            self._ids = stack.enter_context(Names())
            self._stack = stack.pop_all()

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
        unique = self._unique(parsed)
        ids = new_ids("prob", len(unique))
        self.rows.add(self._stored(problem, row_id) for row_id, problem in zip(ids, unique, strict=True))

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

    def _stored(self, problem: ProblemFields, row_id: str) -> tuple[str | None, ...]:
        position = str(self.count)
        self.count += 1
        question, gold, solution = problem["question"], problem["gold_answer"], problem["gold_solution"]
        name, subject, level = problem["external_id"], problem["subject"], problem["level"]
        meta = self._written(problem["meta"])
        texts = map(_json_text, (name, gold, solution, level))
        self._digest.update(_CANONICAL(*texts, meta, _json_text(question), _json_text(subject)).encode())
        return (row_id, self.set_id, position, name, question, gold, solution, subject, level, meta)

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

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._stack.close()


def _json_text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def read_problems(rows: Iterator[RawRow], header: Collection[str], reading: Reading) -> ProblemFile:
    """Problems out of the raw rows of a document or a file; the caller closes them. Raises Invalid and BadRequest.

    ``header``: filled by the time the first row comes, where the file has one.
    """
    with ExitStack() as stack:
        problems = stack.enter_context(ProblemFile(reading))
        try:
            first = list(islice(rows, _BATCH))
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
    return BadRequest(str(error), [FieldError(field="file", message=str(error), remedy="repair the file")])


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
