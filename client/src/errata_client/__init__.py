"""Errata's Python client: typed, over HTTP only, for threads (``Errata``) and for asyncio (``AsyncErrata``).

with Errata("http://127.0.0.1:8000") as errata:
    problems = errata.problem_sets.create("my problems", "problems.jsonl")
    job = errata.injection_jobs.create(problems.id, language_model="miniature").wait(progress=True)
    for pair in job.pairs():
        ...

async with AsyncErrata("http://127.0.0.1:8000") as errata:
    problems = await errata.problem_sets.create("my problems", "problems.jsonl")
    job = await errata.injection_jobs.create(problems.id, language_model="miniature")
    job = await job.wait(progress=True)
    async for pair in job.pairs():
        ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errata_client.errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    DigestMismatch,
    ErrataError,
    InvalidRequest,
    JobFailed,
    NotFoundError,
    PermissionDenied,
    RateLimited,
    ServerError,
    ServiceUnreachable,
    TooLarge,
    WaitTimeout,
)
from errata_client.handles import Dataset, Estimate, Evaluation, InjectionJob, Rejudging, TrainingJob
from errata_client.service import Errata
from errata_client.studies import Campaign, Study

if TYPE_CHECKING:
    from errata_client._async.handles import (
        AsyncDataset,
        AsyncEstimate,
        AsyncEvaluation,
        AsyncInjectionJob,
        AsyncRejudging,
        AsyncTrainingJob,
    )
    from errata_client._async.service import AsyncErrata
    from errata_client._async.studies import AsyncCampaign, AsyncStudy

__all__ = [
    "ApiError",
    "AsyncCampaign",
    "AsyncDataset",
    "AsyncErrata",
    "AsyncEstimate",
    "AsyncEvaluation",
    "AsyncInjectionJob",
    "AsyncRejudging",
    "AsyncStudy",
    "AsyncTrainingJob",
    "AuthenticationError",
    "Campaign",
    "ConflictError",
    "Dataset",
    "DigestMismatch",
    "Errata",
    "ErrataError",
    "Estimate",
    "Evaluation",
    "InjectionJob",
    "InvalidRequest",
    "JobFailed",
    "NotFoundError",
    "PermissionDenied",
    "RateLimited",
    "Rejudging",
    "ServerError",
    "ServiceUnreachable",
    "Study",
    "TooLarge",
    "TrainingJob",
    "WaitTimeout",
]


def __getattr__(name: str) -> Any:
    """The asynchronous client is loaded when it is asked for: the command line never does."""
    if not (name.startswith("Async") and name in __all__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from errata_client._async import handles, service, studies

    return next(getattr(module, name) for module in (service, studies, handles) if hasattr(module, name))
