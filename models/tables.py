"""Every table, imported once, so that ``Base.metadata`` is complete for migrations and tests."""

from models.accounts import ApiKey, IdempotencyKey, Workspace
from models.base import Base
from models.estimates import Estimate
from models.jobs import EditRow, InjectionJob, PairRow, ProblemOutcome, Shard, SolutionRow
from models.language_models import LanguageModel
from models.outputs import (
    Checkpoint,
    Dataset,
    DatasetSource,
    Evaluation,
    EvaluationSample,
    Event,
    Metric,
    TrainingRun,
)
from models.problems import BroughtSolution, ProblemRow, ProblemSet
from models.rejudgings import Rejudging, VerdictChangeRow

__all__ = [
    "ApiKey",
    "Base",
    "BroughtSolution",
    "Checkpoint",
    "Dataset",
    "DatasetSource",
    "EditRow",
    "Estimate",
    "Evaluation",
    "EvaluationSample",
    "Event",
    "IdempotencyKey",
    "InjectionJob",
    "LanguageModel",
    "Metric",
    "PairRow",
    "ProblemOutcome",
    "ProblemRow",
    "ProblemSet",
    "Rejudging",
    "Shard",
    "SolutionRow",
    "TrainingRun",
    "VerdictChangeRow",
    "Workspace",
]
