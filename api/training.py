"""The checks between a request about training and its rows: the resolved configuration, the dataset and the model."""

from __future__ import annotations

from pydantic import ValidationError
from sqlalchemy.orm import Session

from api.http.errors import Conflict, Invalid, invalid
from api.http.rows import body_row
from api.registry import body_model
from api.schemas.training import TrainingInputs
from models.language_models import LanguageModel
from models.outputs import Dataset
from models.states import JobState
from workers.dispatch import TRAINING_PRESETS, TrainingConfig, resolve_training


def resolve_config(body: TrainingInputs) -> TrainingConfig:
    """The complete configuration a request asks for. Raises Invalid naming the field."""
    if body.preset not in TRAINING_PRESETS:
        raise Invalid.field("preset", "there is no preset of this name", f"give one of {', '.join(TRAINING_PRESETS)}")
    if "preset" in body.config:
        raise Invalid.field("config.preset", "the preset is not part of its overrides", "give it as `preset`")
    try:
        return resolve_training(body.preset, body.config)
    except ValidationError as error:
        raise invalid(error.errors(), prefix=["config"]) from None


def named_inputs(session: Session, workspace_id: str, body: TrainingInputs) -> tuple[Dataset, LanguageModel]:
    """The dataset and the base model a request names. Raises Invalid naming the field, and Conflict."""
    dataset = body_row(session, Dataset, body.dataset, workspace_id, "dataset")
    if dataset.state != JobState.SUCCEEDED:
        raise Conflict(f"dataset: it is {dataset.state}; train on it once it has succeeded")
    base = body_model(session, body.base_model, workspace_id, "base_model")
    if not base.config.get("path"):
        raise Invalid.field(
            "base_model",
            f"its entry (engine {base.engine}) names no weights to train",
            "give it the setting `path`: the weights its server was started with",
        )
    if base.config.get("adapter"):
        raise Invalid.field("base_model", "it is an adapter", "start from its base, or merge it (`lora.merge`) first")
    return dataset, base
