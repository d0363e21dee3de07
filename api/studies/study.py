"""A study looked at: what it still needs is asked for, and its table is made once every arm is tested or has failed.

Arms are independent: one that fails is told of in the table, and the others go on. Trials of an arm train on the first
seeds and are chosen between by their accuracy on the validation problems; the chosen one is then trained with every
seed and tested once with each. Test problems decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from api.language_models import model_names
from api.studies.parts import PartFailed, Parts, Waiting
from api.studies.rounds import Made, evaluated, injected, trained
from api.studies.table import Tested, study_table
from errata.output_config import EvaluationConfig
from errata.study_config import ArmConfig, StudyConfig
from models.evaluation_results import measured_rates
from models.outputs import Evaluation
from models.studies import Study

T = TypeVar("T")


@dataclass
class ArmProgress:
    """What of an arm there is: its tested seeds, the trial that was chosen, and why it failed, if it did."""

    tested: dict[int, Evaluation] = field(default_factory=dict)
    made: dict[int, list[Made]] = field(default_factory=dict)
    trial: int | None = None
    validation: list[float] | None = None
    failed: str | None = None
    waits: bool = False


class StudyLook:
    """One look at a study, in the caller's transaction."""

    def __init__(self, session: Session, study: Study, parts: Parts) -> None:
        self._session, self._study, self._parts = session, study, parts
        self.config = StudyConfig.model_validate(study.config)
        self._base = model_names(session, [study.language_model_id]).get(study.language_model_id, "")

    def arms(self) -> dict[str, ArmProgress]:
        """Go on with every arm as far as it goes now."""
        return {arm.name: self._arm(arm) for arm in self.config.arms}

    def _arm(self, arm: ArmConfig) -> ArmProgress:
        progress = ArmProgress(trial=0 if len(arm.trials) == 1 else None)
        try:
            if progress.trial is None:
                progress.validation = self._validated(arm)
                progress.trial = max(range(len(arm.trials)), key=progress.validation.__getitem__)
            self._every(self.config.seeds, lambda seed: self._tested(arm, progress, seed))
        except Waiting:
            progress.waits = True
        except PartFailed as error:
            progress.failed = str(error)
        return progress

    def _validated(self, arm: ArmConfig) -> list[float]:
        """Each trial's mean accuracy on the validation problems, over the seeds that it is tuned with."""
        at = self.config.evaluation.at.index(self.config.select_at)
        validation_set = self._study.validation_set_id or ""

        def accuracy(place: tuple[int, int]) -> float:
            model = self._model(arm, *place)[-1].model
            row = evaluated(self._parts, validation_set, model, self._decoding(place[1]))
            found = (row.result or {})["temperatures"][at]["accuracy"]
            if found is None:
                raise PartFailed(f"{row.id} judged no answer")
            return float(found)

        seeds = self.config.seeds[: self.config.tuned_seeds]
        places = [(trial, seed) for trial in range(len(arm.trials)) for seed in seeds]
        found = dict(zip(places, self._every(places, accuracy), strict=True))
        return [fmean(found[trial, seed] for seed in seeds) for trial in range(len(arm.trials))]

    def _tested(self, arm: ArmConfig, progress: ArmProgress, seed: int) -> None:
        model = self._base
        if arm.trains:
            progress.made[seed] = self._model(arm, progress.trial or 0, seed)
            model = progress.made[seed][-1].model
        progress.tested[seed] = evaluated(self._parts, self._study.test_set_id, model, self._decoding(seed))

    def _model(self, arm: ArmConfig, trial: int, seed: int) -> list[Made]:
        """The rounds of an arm's trial with this seed, the last of which made its model."""
        model, made = self._base, list[Made]()
        budget = self.config.budget
        for number in range(arm.rounds):
            job = injected(self._parts, arm, self._study.problem_set_id, model, seed + number)
            training = {**arm.training, **arm.trials[trial], **steps_of(budget.steps, budget.batch_size)}
            name = f"{self._study.id[-10:]}-{arm.name}-s{seed}-t{trial}-r{number + 1}"
            made.append(trained(self._parts, arm, job, model, name, training, seed + number))
            model = made[-1].model
        return made

    def _decoding(self, seed: int) -> EvaluationConfig:
        """How a model is measured with this seed. Scores draw nothing: with every seed they are the same."""
        config = self.config.evaluation
        return config if config.method == "score" else config.model_copy(update={"seed": seed})

    def _every(self, items: list[Any] | list[int], ask: Callable[[Any], T]) -> list[T]:
        """Ask for all of them before waiting for any, so that they run at once. Raises Waiting, PartFailed."""
        found, waits = list[T](), False
        for item in items:
            try:
                found.append(ask(item))
            except Waiting:
                waits = True
        if waits:
            raise Waiting
        return found


def steps_of(steps: int, batch_size: int) -> dict[str, int]:
    """The budget as settings of a training run: as many steps, however few rows there are to go through."""
    return {"max_steps": steps, "epochs": 1000, "batch_size": batch_size}


def look_at_study(session: Session, study: Study, parts: Parts) -> dict[str, Any] | None:
    """Go on with a study. Returns its result once no arm waits, else None; an arm that failed has ``failed``."""
    look = StudyLook(session, study, parts)
    arms = look.arms()
    if any(arm.waits for arm in arms.values()):
        return None
    tested = {name: _as_tested(session, arm) for name, arm in arms.items()}
    return study_table(tested, look.config.control, look.config.seeds)


def _as_tested(session: Session, arm: ArmProgress) -> Tested:
    seeds = {
        seed: {
            "evaluation": row.id,
            "language_model": model_names(session, [row.language_model_id]).get(row.language_model_id, ""),
            "rounds": [asdict(made) for made in arm.made.get(seed, [])],
        }
        for seed, row in arm.tested.items()
    }
    rates = {} if arm.failed else {s: measured_rates(session, row) for s, row in arm.tested.items()}
    return Tested(rates, seeds, arm.trial, arm.validation, arm.failed)
