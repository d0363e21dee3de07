"""Public ids: which resource a prefix names, and finding a row of the caller's workspace by its id."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.errors import Invalid, NotFound
from models.base import Base
from models.jobs import Estimate, InjectionJob, PairRow
from models.outputs import Dataset, Evaluation, Rejudging, TrainingRun
from models.workspaces import ProblemSet

Row = TypeVar("Row", bound=Base)

#: prefix -> (what it is called, where it lives)
KINDS: dict[str, tuple[str, str]] = {
    "pset": ("problem set", "/v1/problem-sets"),
    "inj": ("injection job", "/v1/injection-jobs"),
    "pair": ("pair", "/v1/pairs"),
    "ds": ("dataset", "/v1/datasets"),
    "train": ("training job", "/v1/training-jobs"),
    "eval": ("evaluation", "/v1/evaluations"),
    "rejudge": ("rejudging", "/v1/rejudgings"),
    "est": ("estimate", "/v1/estimates"),
}
_PREFIXES: dict[type[Base], str] = {
    ProblemSet: "pset",
    InjectionJob: "inj",
    PairRow: "pair",
    Dataset: "ds",
    TrainingRun: "train",
    Evaluation: "eval",
    Rejudging: "rejudge",
    Estimate: "est",
}
_ID = re.compile(r"[a-z]+_[0-9a-z]{1,40}")


def path_row(session: Session, table: type[Row], row_id: str, workspace_id: str) -> Row:
    """The row a path names. Raises NotFound; a row of another workspace is not found either."""
    row = _find(session, table, row_id, workspace_id)
    if row is None:
        prefix = _PREFIXES[table]
        raise NotFound(f"there is no such {KINDS[prefix][0]}{_hint(row_id, prefix)}")
    return row


def body_row(session: Session, table: type[Row], row_id: str, workspace_id: str, field: str) -> Row:
    """The row a body's field names. Raises Invalid naming the field."""
    row = _find(session, table, row_id, workspace_id)
    if row is None:
        prefix = _PREFIXES[table]
        name, place = KINDS[prefix]
        message = f"there is no such {name}{_hint(row_id, prefix)}"
        raise Invalid.field(field, message, f"give an id that starts with '{prefix}_', from GET {place}")
    return row


def _find(session: Session, table: type[Row], row_id: str, workspace_id: str) -> Row | None:
    if not _ID.fullmatch(row_id):
        return None
    row: Any = session.get(table, row_id)
    return None if row is None or row.workspace_id != workspace_id else row


def _hint(row_id: str, prefix: str) -> str:
    other = row_id.split("_", 1)[0]
    if other != prefix and other in KINDS and "_" in row_id:
        name, place = KINDS[other]
        return f": this is the id of {'an' if name[0] in 'aeiou' else 'a'} {name} (see {place})"
    return ""
