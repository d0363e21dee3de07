"""From a registry row to what an engine needs."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.workspaces import LanguageModel
from workers.engines.base import EngineError, ModelSpec


def load_spec(session: Session, model_id: str | None) -> ModelSpec:
    """The engine's view of a registered language model. Raises EngineError when it is gone."""
    row = session.get(LanguageModel, model_id) if model_id else None
    if row is None:
        raise EngineError("the job's language model is no longer registered")
    return ModelSpec(row.name, row.engine, dict(row.config))
