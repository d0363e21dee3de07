# Made from _async/service.py by client/tools/generate.py: change that file, not this one.
"""The client itself: one object per service, one attribute per resource."""

from __future__ import annotations

import os
from types import TracebackType

import httpx2 as httpx

from errata_client.errors import ErrataError
from errata_client.files import Datasets, LanguageModels
from errata_client.keys import Keys, Workspaces
from errata_client.life import Pairs, Retractions
from errata_client.problem_sets import ProblemSets
from errata_client.resources import (
    Estimates,
    Evaluations,
    InjectionJobs,
    Presets,
    Rejudgings,
    TrainingJobs,
)
from errata_client.studies import Campaigns, Studies
from errata_client.transport import Transport
from errata_client.webhooks import Webhooks


class Errata:
    """A service at ``base_url`` (default: ``ERRATA_URL``), with ``api_key`` (default: ``ERRATA_API_KEY``) if it asks.

    Connections are kept open: use it as a context manager, or ``close()`` it. ``transport`` replaces the network.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 60.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        url = base_url or os.environ.get("ERRATA_URL") or "http://127.0.0.1:8000"
        key = api_key or os.environ.get("ERRATA_API_KEY")
        self._transport = Transport(url, key, timeout_seconds=timeout_seconds, retries=retries, transport=transport)
        self.problem_sets = ProblemSets(self._transport)
        self.injection_jobs = InjectionJobs(self._transport)
        self.rejudgings = Rejudgings(self._transport)
        self.estimates = Estimates(self._transport)
        self.pairs = Pairs(self._transport)
        self.retractions = Retractions(self._transport)
        self.datasets = Datasets(self._transport)
        self.training_jobs = TrainingJobs(self._transport)
        self.evaluations = Evaluations(self._transport)
        self.studies = Studies(self._transport)
        self.campaigns = Campaigns(self._transport)
        self.models = LanguageModels(self._transport)
        self.presets = Presets(self._transport)
        self.keys = Keys(self._transport)
        self.workspaces = Workspaces(self._transport)
        self.webhooks = Webhooks(self._transport)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.base_url

    def ready(self) -> bool:
        """Whether the service answers and reaches its database."""
        try:
            self._transport.request("GET", "/readyz")
        except ErrataError:
            return False
        return True

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def __enter__(self) -> Errata:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
