"""Whether a dataset is for a model that is trained with its chat template."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from errata.config import InjectionConfig
from models.jobs import InjectionJob
from models.workspaces import LanguageModel
from workers.engines.chat_templates import knows_chat_template


def trained_with_template(session: Session, jobs: Iterable[InjectionJob]) -> bool:
    """False only where every job's solver is a model that is known to have no chat template.

    Of solutions that were brought along nobody knows the model; they are mostly an instruct model's.
    """
    for job in jobs:
        brought = InjectionConfig.model_validate(job.config).sampling.source != "model"
        model = session.get(LanguageModel, job.language_model_id) if job.language_model_id else None
        if brought or model is None or knows_chat_template(model.engine, model.config):
            return True
    return False
