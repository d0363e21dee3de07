"""Studies and campaigns: jobs that start other jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata_client import study_records
from errata_client._async.handles import AsyncJob
from errata_client._async.jobs import AsyncJobs
from errata_client._async.life import AsyncKept


class AsyncStudy(AsyncJob, study_records.Study):
    """Arms x seeds under equal budgets; ``result`` holds its table once it has ended."""


class AsyncCampaign(AsyncJob, study_records.Campaign):
    """Rounds with the newest model; ``result`` holds those that are done."""


class AsyncStudies(AsyncKept[AsyncStudy], AsyncJobs[AsyncStudy]):
    """Comparisons of ways of making a model."""

    path, record = "/v1/studies", AsyncStudy

    async def create(
        self,
        problem_set: str,
        *,
        test_set: str,
        language_model: str,
        config: Mapping[str, Any],
        validation_set: str | None = None,
        name: str | None = None,
    ) -> AsyncStudy:
        """Start a study; ``config`` names its arms (docs/studies.md). Trials need a validation set."""
        body = {"problem_set": problem_set, "test_set": test_set, "validation_set": validation_set, "name": name}
        return await self._create({**body, "language_model": language_model, "config": dict(config)})


class AsyncCampaigns(AsyncKept[AsyncCampaign], AsyncJobs[AsyncCampaign]):
    """Models that are improved in rounds."""

    path, record = "/v1/campaigns", AsyncCampaign

    async def create(
        self,
        problem_set: str,
        *,
        evaluation_set: str,
        language_model: str,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> AsyncCampaign:
        """Start a campaign; ``config`` says what a round is, how many there are, and when to stop."""
        body = {"problem_set": problem_set, "evaluation_set": evaluation_set, "name": name}
        return await self._create({**body, "language_model": language_model, "config": dict(config or {})})
