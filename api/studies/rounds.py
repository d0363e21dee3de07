"""One round: a model in, a model out. Studies and campaigns make their models by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.datasets import DatasetIn
from api.evaluations import EvaluationIn
from api.http.errors import Invalid, invalid_below
from api.injection_jobs.jobs import InjectionJobIn
from api.studies.parts import Parts, key_of
from api.training.schemas import TrainingJobIn
from errata.config import PRESETS, resolve
from errata.output_config import DatasetConfig, EvaluationConfig
from errata.study_config import RoundConfig
from errata.types import Domain
from models.jobs import InjectionJob
from models.outputs import Evaluation
from workers.dispatch import TRAINING_PRESETS, resolve_training


@dataclass(frozen=True, slots=True)
class Made:
    """What a round made: its job, its dataset, its training run, and the name of its model."""

    job: str
    pairs: int
    tokens: int
    dataset: str
    training_job: str
    model: str


def injected(parts: Parts, config: RoundConfig, problem_set: str, model: str, seed: int) -> InjectionJob:
    """The round's injection job. Arms with equal ones share it. Raises Waiting and PartFailed."""
    body = InjectionJobIn(
        problem_set=problem_set, language_model=model, preset=config.preset, config={**config.config, "seed": seed}
    )
    return parts.job(key_of("job", body.model_dump(mode="json")), body)


def trained(
    parts: Parts,
    config: RoundConfig,
    job: InjectionJob,
    model: str,
    output_name: str,
    training: Mapping[str, Any],
    seed: int,
) -> Made:
    """The model that is trained on the pairs of the round's job. Raises Waiting and PartFailed.

    All pairs train: nothing is held out of the dataset unless its configuration says so, as held-out problems of a
    study lie in sets of their own.
    """
    frozen = {"split": {"test": 0.0}, **config.dataset, "seed": seed}
    body = DatasetIn(name=output_name, jobs=[job.id], config=frozen)
    dataset = parts.dataset(key_of("dataset", {"jobs": [job.id], "config": frozen}), body)
    given = TrainingJobIn(
        dataset=dataset.id,
        base_model=model,
        output_name=output_name,
        preset=config.training_preset,
        config={**training, "seed": seed},
    )
    run = parts.training(key_of("training", given.model_dump(mode="json")), given)
    funnel = job.funnel or {}
    counts, tokens = funnel.get("pairs", {}), funnel.get("tokens", {})
    return Made(job.id, int(counts.get("total", 0)), _generated(tokens), dataset.id, run.id, output_name)


def evaluated(parts: Parts, problem_set: str, model: str, config: EvaluationConfig) -> Evaluation:
    """The evaluation of a model under this configuration. Raises Waiting and PartFailed."""
    body = EvaluationIn(problem_set=problem_set, language_model=model, config=config)
    return parts.evaluation(key_of("evaluation", body.model_dump(mode="json")), body)


def check_round(config: RoundConfig, domain: Domain, field: str, training: Mapping[str, Any]) -> None:
    """Raises Invalid naming the field below ``field`` for what no job, dataset or training run could be made with."""
    if config.preset not in PRESETS:
        remedy = f"give one of {', '.join(PRESETS)}"
        raise Invalid.field(f"{field}.preset", "there is no preset of this name", remedy)
    if config.training_preset not in TRAINING_PRESETS:
        remedy = f"give one of {', '.join(TRAINING_PRESETS)}"
        raise Invalid.field(f"{field}.training_preset", "there is no preset of this name", remedy)
    with invalid_below(field, "config"):
        resolve(config.preset, config.config, domain)
    with invalid_below(field, "dataset"):
        DatasetConfig.model_validate({**config.dataset, "jobs": ["inj_"]})
    with invalid_below(field, "training"):
        resolve_training(config.training_preset, training)


def _generated(tokens: Any) -> int:
    """Generated tokens of all stages, from a funnel's counts."""
    if isinstance(tokens, Mapping):
        return sum(
            int(value) if name == "completion" and isinstance(value, int | float) else _generated(value)
            for name, value in tokens.items()
        )
    return 0
