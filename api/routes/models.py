"""``/v1/models``: the language models a job may name, in the shape the `openai` client expects."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.http.auth import Reader
from api.http.errors import NotFound, documented
from api.http.routing import ApiDep
from api.http.routing import router as make_router
from api.registry import find_model, model_names, visible
from api.schemas.outputs import LanguageModelOut, ModelListing
from models.language_models import LanguageModel

router = make_router("/v1/models", "language models")


def _many(session: Session, rows: Sequence[LanguageModel]) -> list[LanguageModelOut]:
    bases = model_names(session, [row.base_model_id for row in rows])
    return [
        LanguageModelOut(
            id=row.name,
            created=int(row.created_at.timestamp()),
            owned_by="errata" if row.training_run_id else "operator",
            engine=row.engine,
            base_model=bases.get(row.base_model_id or ""),
            training_job=row.training_run_id,
        )
        for row in rows
    ]


@router.get("")
def list_models(caller: Reader, api: ApiDep) -> ModelListing:
    """Every language model the caller may name, oldest first."""
    query = select(LanguageModel).where(visible(caller.workspace_id))
    with api.db.read() as session:
        rows = session.scalars(query.order_by(LanguageModel.created_at, LanguageModel.id)).all()
        own = {row.name for row in rows if row.workspace_id == caller.workspace_id}
        named = [row for row in rows if row.workspace_id == caller.workspace_id or row.name not in own]
        return ModelListing(data=_many(session, named))


@router.get("/{name}", responses=documented(404))
def get_model(caller: Reader, api: ApiDep, name: str) -> LanguageModelOut:
    """One language model by its name."""
    with api.db.read() as session:
        row = find_model(session, name, caller.workspace_id)
        if row is None:
            raise NotFound("there is no such language model; see GET /v1/models")
        return _many(session, [row])[0]
