"""What a request for a problem set says: a document, a file, or a dataset's name on the hub. Its rows come later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from api.http import strict_json
from api.http.errors import BadRequest, FieldError, Invalid, TooLarge, invalid_below
from api.http.readers.unfolding import size_of
from api.http.routing import Api
from api.http.uploads import RawRow, Upload, rows_of
from api.problem_sets.formats import LIKELY_COLUMNS, READING
from api.problem_sets.hub import HubFiles, find_files
from api.problem_sets.ingest import OnBadRow, Reading
from api.problem_sets.mapping import ColumnMapping
from api.problem_sets.schemas import HubProblemSetIn, ProblemSetHeader, ProblemSetIn
from api.problem_sets.store import Origin

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Sent:
    """A request for a problem set: its header, its rows (not read yet) and how they are to be read.

    ``sha256`` covers all that decides what is stored, ``body`` all that the sender sent.
    """

    header: ProblemSetHeader
    rows: Callable[[list[str]], Iterator[RawRow]]
    reading: Reading
    sha256: str
    body: Any
    origin: Origin


def _read_header(
    upload: Upload, api: Api, given: dict[str, Any]
) -> tuple[ProblemSetHeader, Callable[[list[str]], Iterator[RawRow]], HubFiles | None]:
    """What was sent besides the rows, how to read these, and the hub's files where they come from there."""
    document = read_document(upload, api) if upload.is_document else None
    if isinstance(document, dict) and "hub" in document:
        asked = validated(HubProblemSetIn, document)
        files = find_files(api.settings, asked.hub)
        return asked, partial(files.rows, _columns(asked)), files
    if upload.is_document:
        posted = validated(ProblemSetIn, document)
        return posted, lambda _header: rows_of(posted.problems), None
    given = {**given, **{name: value for name, value in upload.fields.items() if name != "on_bad_row"}}
    header = validated(ProblemSetHeader, {key: value for key, value in given.items() if value is not None})
    return header, partial(upload.rows, api.settings.upload_limit, _columns(header)), None


def _columns(header: ProblemSetHeader) -> frozenset[str]:
    return LIKELY_COLUMNS | set((header.mapping or {}).values())


def read_request(upload: Upload, api: Api, given: dict[str, Any], on_bad_row: OnBadRow | None) -> Sent:
    """What an upload asks for. ``given``: header fields that stand outside the body. Raises what its parts raise."""
    header, rows, files = _read_header(upload, api, given)
    on_bad_row = on_bad_row or rule_in_form(upload)
    on_bad, criteria = on_bad_row or ("report" if files else default_of(upload)), header.criteria()
    mapping = ColumnMapping(header.mapping) if header.mapping else None
    reading = Reading(api.settings, on_bad, upload.is_document and files is None, criteria, mapping)
    digest = upload.digest()
    kind = [READING, upload.format, upload.charset, upload.is_document, on_bad, api.settings.field_limit]
    how = json.dumps([files.key if files else digest, *kind, criteria, header.mapping], sort_keys=True)
    more: list[Any] = [item for item in (criteria, header.mapping, header.solutions, header.benchmark) if item]
    more += [[header.license, header.source_url]] if header.license or header.source_url else []
    body = [header.name, header.domain, on_bad_row, digest, *more]
    told = (files.license, files.source_url) if files else (None, None)
    origin = Origin(header.license or told[0], header.source_url or told[1])
    return Sent(header, rows, reading, hashlib.sha256(how.encode()).hexdigest(), body, origin)


def read_document(upload: Upload, api: Api) -> Any:
    """The value of a JSON document. Raises TooLarge and BadRequest."""
    limit = api.settings.body_limit
    content = upload.open(limit)
    if size_of(content) > limit:
        raise TooLarge(f"the document is larger than {limit} bytes; send JSON lines")
    try:
        return strict_json.loads(content.read())
    except strict_json.JsonError as error:
        message = f"not acceptable JSON: {error}"
        raise BadRequest(message, [FieldError(field="body", message=message, remedy="send one JSON object")]) from None


def rule_in_form(upload: Upload) -> OnBadRow | None:
    """What a form says of bad rows; None where it says nothing. Raises Invalid."""
    match upload.fields.get("on_bad_row"):
        case None | "report" | "refuse" as rule:
            return rule
        case _:
            raise Invalid.field("on_bad_row", "neither report nor refuse", "give one of them, or leave it out")


def default_of(upload: Upload) -> OnBadRow:
    """What a bad row does where the sender does not say."""
    return "refuse" if upload.is_document else "report"


def validated(model: type[M], value: Any) -> M:
    """The value as the model has it. Raises Invalid naming fields."""
    with invalid_below():
        return model.model_validate(value)
