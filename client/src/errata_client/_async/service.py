"""The client itself: one object per service, one attribute per resource."""

from __future__ import annotations

import os
from types import TracebackType

import httpx2 as httpx

from errata_client._async.files import AsyncDatasets, AsyncLanguageModels
from errata_client._async.keys import AsyncKeys, AsyncWorkspaces
from errata_client._async.life import AsyncPairs, AsyncRetractions
from errata_client._async.problem_sets import AsyncProblemSets
from errata_client._async.resources import (
    AsyncEstimates,
    AsyncEvaluations,
    AsyncInjectionJobs,
    AsyncPresets,
    AsyncRejudgings,
    AsyncTrainingJobs,
)
from errata_client._async.studies import AsyncCampaigns, AsyncStudies
from errata_client._async.transport import AsyncTransport
from errata_client._async.webhooks import AsyncWebhooks
from errata_client.errors import ErrataError


class AsyncErrata:
    """A service at ``base_url`` (default: ``ERRATA_URL``), with ``api_key`` (default: ``ERRATA_API_KEY``) if it asks.

    Connections are kept open: use it as a context manager, or ``aclose()`` it. ``transport`` replaces the network.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 60.0,
        retries: int = 5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = base_url or os.environ.get("ERRATA_URL") or "http://127.0.0.1:8000"
        key = api_key or os.environ.get("ERRATA_API_KEY")
        self._transport = AsyncTransport(
            url, key, timeout_seconds=timeout_seconds, retries=retries, transport=transport
        )
        self.problem_sets = AsyncProblemSets(self._transport)
        self.injection_jobs = AsyncInjectionJobs(self._transport)
        self.rejudgings = AsyncRejudgings(self._transport)
        self.estimates = AsyncEstimates(self._transport)
        self.pairs = AsyncPairs(self._transport)
        self.retractions = AsyncRetractions(self._transport)
        self.datasets = AsyncDatasets(self._transport)
        self.training_jobs = AsyncTrainingJobs(self._transport)
        self.evaluations = AsyncEvaluations(self._transport)
        self.studies = AsyncStudies(self._transport)
        self.campaigns = AsyncCampaigns(self._transport)
        self.models = AsyncLanguageModels(self._transport)
        self.presets = AsyncPresets(self._transport)
        self.keys = AsyncKeys(self._transport)
        self.workspaces = AsyncWorkspaces(self._transport)
        self.webhooks = AsyncWebhooks(self._transport)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._transport.base_url

    async def ready(self) -> bool:
        """Whether the service answers and reaches its database."""
        try:
            await self._transport.request("GET", "/readyz")
        except ErrataError:
            return False
        return True

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncErrata:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
