"""The configurations of studies and campaigns: every choice named, bounded, and complete (docs/studies.md)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from errata.output_config import EvaluationConfig
from errata.strict import Strict

ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Overrides = dict[str, Any]
SET_BY_STUDY = frozenset({"seed", "max_steps", "epochs", "batch_size"})
"""Settings of a training run that a study sets itself, so that its arms have equal budgets."""


def scored() -> EvaluationConfig:
    """Greedy and at temperature 1, by scoring: no sampling noise."""
    return EvaluationConfig(method="score", temperatures=(0.0, 1.0))


class RoundConfig(Strict):
    """How one round makes a model of another: pairs by an injection job, a dataset of them, a training run."""

    preset: str = Field("errata", max_length=50, description="Of the injection job (see /v1/presets).")
    config: Overrides = Field(default_factory=dict, description="Overrides of it (schema: InjectionConfig).")
    dataset: Overrides = Field(default_factory=dict, description="Schema: DatasetConfig, without jobs and datasets.")
    training_preset: str = Field("errata", max_length=50, description="errata, paper, scripts, sft or step-nll.")
    training: Overrides = Field(default_factory=dict, description="Overrides of it (schema: TrainingConfig).")

    @field_validator("config", "dataset")
    @classmethod
    def _no_seed(cls, value: Overrides) -> Overrides:
        if "seed" in value:
            raise ValueError("seed: it is set by the study's or campaign's own")
        return value


class ArmConfig(RoundConfig):
    """One way of making a model, or none: an arm that does not train measures the start model."""

    name: ArmName
    trains: bool = True
    rounds: int = Field(1, ge=1, le=10, description="Each with the model of the round before.")
    trials: list[Overrides] = Field(
        [{}],
        min_length=1,
        max_length=20,
        description="Overrides of `training`, one per trial; the best one on the validation problems is tested.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> ArmConfig:
        for overrides in (self.training, *self.trials):
            if taken := sorted(SET_BY_STUDY & set(overrides)):
                raise ValueError(f"training.{taken[0]}: it is set by the study, so that arms have equal budgets")
        if not self.trains and (len(self.trials) > 1 or self.rounds > 1):
            raise ValueError("trains: an arm that does not train has neither trials nor rounds")
        return self


class BudgetConfig(Strict):
    """What every arm may train, in each round: ``steps`` optimizer steps of ``batch_size`` rows."""

    steps: int = Field(48, ge=1, le=10_000_000)
    batch_size: int = Field(32, ge=1, le=65_536)


class StudyConfig(Strict):
    """One study, fully resolved: arms x seeds under equal budgets."""

    arms: list[ArmConfig] = Field(min_length=1, max_length=40)
    control: ArmName | None = Field(None, description="The arm that the others are compared with, paired.")
    seeds: list[Seed] = Field([1, 2, 3], min_length=1, max_length=50)
    budget: BudgetConfig = BudgetConfig()
    evaluation: EvaluationConfig = Field(default_factory=scored)
    select_at: float = Field(
        1.0, description="The temperature of the evaluation at which a validation accuracy decides between trials."
    )
    tuned_seeds: int = Field(1, ge=1, le=50, description="How many of the seeds, from the first, the trials run with.")
    concurrency: int = Field(4, ge=1, le=100, description="Jobs of the study that are open at once.")

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        names = [arm.name for arm in self.arms]
        if len({name.lower() for name in names}) != len(names):
            raise ValueError("arms: each name may occur once")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each may occur once")
        if self.control is not None and self.control not in names:
            raise ValueError(f"control: there is no arm '{self.control}'; the arms are {', '.join(names)}")
        counts = {len(arm.trials) for arm in self.arms if arm.trains}
        if len(counts) > 1:
            raise ValueError("arms: every arm that trains needs the same number of trials")
        if self.tunes and self.select_at not in self.evaluation.at:
            raise ValueError("select_at: the evaluation has no such temperature")
        if self.tuned_seeds > len(self.seeds):
            raise ValueError("tuned_seeds: there are fewer seeds")
        return self

    @property
    def tunes(self) -> bool:
        """Whether trials are chosen between, on validation problems."""
        return any(len(arm.trials) > 1 for arm in self.arms)


class CampaignStop(Strict):
    """When a campaign ends before its last round. Of several rules the first that holds ends it; null: no such rule."""

    patience: int | None = Field(
        None, ge=1, le=100, description="So many rounds in a row without a gain over the best before."
    )
    min_gain: float = Field(0.0, ge=0, le=1, description="What counts as a gain, as a share of the problems.")
    accuracy: float | None = Field(None, gt=0, le=1, description="Once a round reaches it.")
    min_pairs: int | None = Field(None, ge=1, description="Once a round's job makes fewer pairs: it is not trained on.")


class CampaignConfig(RoundConfig):
    """One campaign, fully resolved: rounds of injection, training and evaluation, each with the newest model.

    Round n has the seed ``seed + n``, n counted from 0. Rules look at the evaluation's first temperature.
    """

    rounds: int = Field(3, ge=1, le=50)
    stop: CampaignStop = CampaignStop()
    evaluation: EvaluationConfig = Field(default_factory=scored)
    seed: int = Field(0, ge=0, le=2**31 - 64)

    @model_validator(mode="after")
    def _consistent(self) -> CampaignConfig:
        if "seed" in self.training:
            raise ValueError("training.seed: it is set by the campaign's own")
        return self


def stop_reason(rules: CampaignStop, accuracies: list[float]) -> str | None:
    """Which rule ends a campaign after its last round; ``accuracies``: the start model's and every round's."""
    if rules.accuracy is not None and accuracies[-1] >= rules.accuracy:
        return "accuracy"
    if rules.patience is None:
        return None
    best, since = accuracies[0], 0
    for value in accuracies[1:]:
        gained = value > best + rules.min_gain
        since = 0 if gained else since + 1
        best = max(best, value)
    return "patience" if since >= rules.patience else None
