"""Errata's Python client: typed, synchronous, over HTTP only.

with Errata("http://127.0.0.1:8000") as errata:
    problems = errata.problem_sets.create("my problems", [{"question": "1 + 1 = ?", "gold_answer": "2"}])
    job = errata.injection_jobs.create(problems.id, language_model="miniature")
    job = errata.injection_jobs.wait(job.id)
    for pair in errata.pairs.list(job=job.id):
        ...
"""

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
from errata_client.service import Errata

__all__ = [
    "ApiError",
    "AuthenticationError",
    "ConflictError",
    "DigestMismatch",
    "Errata",
    "ErrataError",
    "InvalidRequest",
    "JobFailed",
    "NotFoundError",
    "PermissionDenied",
    "RateLimited",
    "ServerError",
    "ServiceUnreachable",
    "TooLarge",
    "WaitTimeout",
]
