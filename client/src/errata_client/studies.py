# Made from _async/studies.py by client/tools/generate.py: change that file, not this one.
"""Studies and campaigns: jobs that start other jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata_client import study_records
from errata_client.handles import Job
from errata_client.jobs import Jobs
from errata_client.life import Kept


class Study(Job, study_records.Study):
    """Arms x seeds under equal budgets; ``result`` holds its table once it has ended."""


class Campaign(Job, study_records.Campaign):
    """Rounds with the newest model; ``result`` holds those that are done."""


class Studies(Kept[Study], Jobs[Study]):
    """Comparisons of ways of making a model."""

    path, record = "/v1/studies", Study

    def create(
        self,
        problem_set: str,
        *,
        test_set: str,
        language_model: str,
        config: Mapping[str, Any],
        validation_set: str | None = None,
        name: str | None = None,
    ) -> Study:
        """Start a study; ``config`` names its arms (docs/studies.md). Trials need a validation set."""
        body = {"problem_set": problem_set, "test_set": test_set, "validation_set": validation_set, "name": name}
        return self._create({**body, "language_model": language_model, "config": dict(config)})


class Campaigns(Kept[Campaign], Jobs[Campaign]):
    """Models that are improved in rounds."""

    path, record = "/v1/campaigns", Campaign

    def create(
        self,
        problem_set: str,
        *,
        evaluation_set: str,
        language_model: str,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Campaign:
        """Start a campaign; ``config`` says what a round is, how many there are, and when to stop."""
        body = {"problem_set": problem_set, "evaluation_set": evaluation_set, "name": name}
        return self._create({**body, "language_model": language_model, "config": dict(config or {})})
