"""From a file's rows to checked rows on disk: recognised, read one at a time, paired, and written as JSON lines.

Of a file only what waits for its partner is held: sides of unpaired rows, and a digest of each row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TextIO

from api.http.errors import BadRequest, FieldError, Invalid
from api.http.strict_json import JsonError, check_text
from api.http.uploads import RawRow, Unreadable
from api.imports.report import Complaints, Report
from api.settings import ApiSettings
from errata.imports.config import GOLD, FormatName, ImportConfig
from errata.imports.formats import FORMATS, Format, known_format, mapped
from errata.imports.pairing import Pairing
from errata.imports.rows import (
    Imported,
    ImportedPair,
    ImportedSide,
    Row,
    as_row,
    check,
    content_digest,
    plain_prompt,
    prompt_messages,
    with_gold,
)
from errata.imports.turns import RowProblem
from errata.seeds import Split, split_of

_HEAD = 100  # rows whose columns tell the format
_LISTED = 40  # columns named in an answer


@dataclass(frozen=True)
class Recognised:
    """A file's format, the mapping of its columns, and those that mean nothing here."""

    known: Format
    mapping: Mapping[str, str]
    ignored: list[str]


def recognised(
    rows: Iterator[RawRow], name: FormatName | None, mapping: Mapping[str, str]
) -> tuple[Recognised, Iterator[RawRow]]:
    """The format of a file, by its first rows, and all its rows. Raises Invalid naming the columns, and BadRequest."""
    try:
        head = list(islice(rows, _HEAD))
    except Unreadable as error:
        raise _unreadable(error) from None
    if not head:
        raise Invalid.field("file", "it holds no rows", "send at least one")
    if not any(raw.value for raw in head):
        broken = Complaints()
        for each in head:
            broken.add(each.line, each.error or "no columns")
        raise broken.refusal("not one row of the file's beginning can be read", "repair the file")
    raw = _columns(raw.value for raw in head if raw.value)
    for field, column in mapping.items():
        if column not in raw and column.split(".")[0] not in raw:
            raise Invalid.field(f"mapping.{field}", f"the file has no column '{column[:80]}'", f"it has {_named(raw)}")
    columns = _columns(mapped(raw.value, mapping) for raw in head if raw.value)
    known = known_format(name, columns)
    if known is None:
        wanted = f"'{name}' needs {_needs(FORMATS[name])}" if name else "its columns tell no format known here"
        remedy = f"the file has {_named(raw)}; name the columns by `mapping`" + ("" if name else ", or give `format`")
        raise Invalid.field("format" if name else "file", wanted, remedy)
    ignored = [name for name in columns if name not in known.uses and (name != GOLD or known.unpaired)]
    return Recognised(known, mapping, ignored[:_LISTED]), chain(head, rows)


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _named(columns: list[str]) -> str:
    return ", ".join(name[:80] for name in columns[:_LISTED]) or "no columns"


def _needs(known: Format) -> str:
    return ", ".join(" or ".join(names) for names in known.columns)


def _unreadable(error: Unreadable) -> BadRequest:
    message, remedy = error.told()
    return BadRequest(str(error), [FieldError(field="file", message=message, remedy=remedy)])


class Ingest:
    """Reads the rows of one file into ``out``; ``report`` counts them."""

    def __init__(self, found: Recognised, config: ImportConfig, settings: ApiSettings, out: TextIO) -> None:
        self.report = Report()
        self._found, self._config, self._settings, self._out = found, config, settings, out
        self._pairing = Pairing()
        self._seen: set[bytes] = set()
        self._ids: set[str] = set()
        self._split: Split | None = None

    def read(
        self, rows: Iterable[RawRow], *, refuse: bool, found: Recognised | None = None, split: Split | None = None
    ) -> None:
        """Read every row. Raises Invalid: too many rows, nothing of use, or a bad row where ``refuse``; BadRequest.

        A further file has its own ``found``; a row that repeats one of an earlier file is a duplicate. Rows of a
        ``split`` go there, and no others are drawn for it.
        """
        report, most = self.report, self._settings.upload_rows
        self._found, self._split = found or self._found, split
        try:
            for raw in rows:
                report.rows += 1
                if report.rows > most:
                    raise Invalid.field("file", f"more than {most} rows", "send it in parts")
                try:
                    self._take(raw)
                except RowProblem as problem:
                    report.complaints.add(raw.line, str(problem))
        except Unreadable as error:
            raise _unreadable(error) from None
        report.unpaired = self._pairing.left()
        self._check_complete(refuse)

    def _take(self, raw: RawRow) -> None:
        if raw.value is None:
            raise RowProblem(raw.error or "unreadable")
        values = mapped(raw.value, self._found.mapping)
        row = with_gold(self._found.known.read(values, self._config), values)
        check(row, self._settings.field_limit, self._found.known.sides)
        is_side = isinstance(row, ImportedSide) and row.label is not None
        # Of unpaired rows one completion may stand in several pairs: those are compared when they are made.
        if not is_side and self._is_duplicate(row):
            return
        pair = self._pairing.add(row) if isinstance(row, ImportedSide) and is_side else row
        if pair is None:
            return
        if is_side:
            check(pair, self._settings.field_limit)
            if self._is_duplicate(pair):
                return
        self._write(pair)

    def _is_duplicate(self, row: Imported) -> bool:
        identity = row.own.get("pair_id") if isinstance(row, ImportedPair) else None
        if identity is not None:
            if identity in self._ids:
                raise RowProblem("'pair_id' was used by an earlier row")
            self._ids.add(identity)
            return False
        digest = content_digest(row)
        if digest in self._seen:
            self.report.duplicates += 1
            return True
        self._seen.add(digest)
        return False

    def _write(self, row: Imported) -> None:
        values = as_row(row)
        _check_texts(values)
        report = self.report
        if isinstance(row, ImportedPair):
            report.pairs += 1
            report.steps += row.is_step
        else:
            report.samples += 1
        report.plain += plain_prompt(values) is not None
        messages = prompt_messages(values) is not None
        report.messages += messages
        report.texts += not messages
        report.own += not values["prompt_messages"] and values["prompt_text"] is None
        split = self._split or split_of(values["question"], self._config.split.test, self._config.seed)
        report.train += split == "train"
        if self._split:
            values["split"] = split
        self._out.write(json.dumps(values, ensure_ascii=False) + "\n")

    def _check_complete(self, refuse: bool) -> None:
        report = self.report
        complaints = report.complaints
        if complaints.count and refuse:
            remedy = "correct the row, or send on_bad_row=report to leave such rows out"
            raise complaints.refusal(f"{complaints.count} bad rows", remedy)
        if report.pairs + report.samples == 0:
            if sum(report.unpaired.values()):
                raise _unpaired(report)
            if not complaints.count:
                raise Invalid.field("file", "it holds no rows", "send at least one")
            raise complaints.refusal(f"not one valid row in {report.rows}", "correct the row")
        if report.train == 0:
            message = "every row fell into the test split"
            raise Invalid.field("config.split.test", message, "lower it, 0 for none, or change `seed`")


def _unpaired(report: Report) -> Invalid:
    right, wrong = report.unpaired["right"], report.unpaired["wrong"]
    message = f"no prompt has both a right and a wrong completion: {right} are right, {wrong} wrong"
    remedy = "Errata trains on pairs; to imitate the right ones alone, import them as format `sft` without `label`"
    return Invalid.field("file", message, remedy)


def _check_texts(row: Row) -> None:
    """Raises RowProblem for text that no database could store. JSON was checked when read; tables were not."""
    messages = row.get("prompt_messages") or ()
    try:
        for value in (*row.values(), *(turn["content"] for turn in messages)):
            if isinstance(value, str):
                check_text(value)
    except JsonError as error:
        raise RowProblem(f"a text holds {error}") from None
