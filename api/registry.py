"""The language models a workspace may name: its own, and the operator's.

An operator's entry lives in the default workspace and has no training run; everyone may use it. What a workspace has
trained is its own. A name is the only way to refer to a model: no request holds a path or a URL.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from api.http.errors import Invalid
from models.accounts import DEFAULT_WORKSPACE
from models.language_models import LanguageModel


def visible(workspace_id: str) -> ColumnElement[bool]:
    """The condition that a registry entry may be used by a workspace."""
    shared = and_(LanguageModel.workspace_id == DEFAULT_WORKSPACE, LanguageModel.training_run_id.is_(None))
    return or_(LanguageModel.workspace_id == workspace_id, shared)


def find_model(session: Session, name: str, workspace_id: str) -> LanguageModel | None:
    """The entry of this name, a workspace's own before an operator's."""
    query = select(LanguageModel).where(LanguageModel.name == name, visible(workspace_id))
    found = session.scalars(query).all()
    return min(found, key=lambda row: row.workspace_id != workspace_id, default=None)


def body_model(session: Session, name: str, workspace_id: str, field: str) -> LanguageModel:
    """The entry a body's field names. Raises Invalid naming the field."""
    row = find_model(session, name, workspace_id)
    if row is None:
        raise Invalid.field(field, "there is no language model of this name", "give a name listed by GET /v1/models")
    return row


def model_names(session: Session, ids: Iterable[str | None]) -> dict[str, str]:
    """Names by id."""
    wanted = {row_id for row_id in ids if row_id}
    if not wanted:
        return {}
    rows = session.execute(select(LanguageModel.id, LanguageModel.name).where(LanguageModel.id.in_(wanted)))
    return {row.id: row.name for row in rows}
