"""What every kind of row that a workspace keeps can: be renamed, tagged, and deleted; and reviews and retractions."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from errata_client._async.jobs import AsyncResource
from errata_client._async.transport import AsyncRows
from errata_client.curation import ArgillaReviews, Deletion, Dependent, PairLineage, Retraction, Review
from errata_client.progress import Record
from errata_client.records import Pair

R = TypeVar("R", bound=Record)
_AT_ONCE = 100  # reviews and records of one request: their texts keep within a request's limit


class AsyncKept(AsyncResource, Generic[R]):
    """Rows under one path that are kept until they are deleted."""

    path: str
    record: type[R]

    async def update(self, row_id: str, *, name: str | None = None, tags: Iterable[str] | None = None) -> R:
        """Rename a row, or give it exactly these tags. Lists take ``tag=...`` as a filter."""
        given = {"name": name, "tags": None if tags is None else list(tags)}
        body = {key: value for key, value in given.items() if value is not None}
        return self._made(self.record, await self._transport.patch(self._url(row_id), body))

    async def dependents(self, row_id: str) -> list[Dependent]:
        """What would be deleted with a row: everything that cannot be without it."""
        answer = await self._transport.get(f"{self._url(row_id)}/dependents")
        return [Dependent.model_validate(row) for row in answer["data"]]

    async def delete(self, row_id: str, *, cascade: bool = False) -> Deletion:
        """Delete a row with its files; ``cascade``: and what depends on it.

        Raises ConflictError where something depends on it, and while any of them runs.
        """
        answer = await self._transport.delete(self._url(row_id), cascade=str(cascade).lower())
        return Deletion.model_validate(answer)

    def _url(self, row_id: str) -> str:
        return f"{self.path}/{quote(row_id, safe='')}"


class AsyncPairs(AsyncResource):
    """Preference pairs of all jobs, and what people think of them."""

    async def get(self, pair_id: str) -> Pair:
        """One pair."""
        return Pair.model_validate(await self._transport.get(f"/v1/pairs/{pair_id}"))

    def list(self, **filters: Any) -> AsyncRows[Pair]:
        """Pairs, oldest first.

        Filters: ``job``, ``type``, ``error_kind``, ``form``, ``editor``, ``evidence``, ``problem`` (its id or your own
        id of it), ``review`` (accepted, rejected, not_rejected, none).
        """
        return self._transport.rows(Pair.model_validate, "/v1/pairs", page_size=500, **filters)

    async def review(
        self, pair_id: str, verdict: str, *, reason: str | None = None, reviewer: str | None = None
    ) -> Review:
        """Accept or reject a pair (``accepted`` or ``rejected``); the newest review stands."""
        body = {"verdict": verdict, "reason": reason, "reviewer": reviewer}
        answer = await self._transport.put(f"/v1/pairs/{pair_id}/review", body)
        return Review.model_validate(answer)

    async def review_many(self, reviews: Iterable[Mapping[str, Any]]) -> builtins.list[Review]:
        """Many reviews: ``pair``, ``verdict``, and optionally ``reason`` and ``reviewer``. Sent in requests of 100."""
        made: builtins.list[Review] = []
        for rows in _batches(reviews):
            answer = await self._transport.post("/v1/pairs/reviews", {"reviews": rows})
            made += [Review.model_validate(row) for row in answer["data"]]
        return made

    async def withdraw_review(self, pair_id: str) -> Review:
        """Take a pair's standing review back; its history stays."""
        return Review.model_validate(await self._transport.delete(f"/v1/pairs/{pair_id}/review"))

    def reviews(self, pair_id: str) -> AsyncRows[Review]:
        """Every decision about a pair, oldest first."""
        return self._transport.rows(Review.model_validate, f"/v1/pairs/{pair_id}/reviews")

    async def lineage(self, pair_id: str) -> PairLineage:
        """What a pair comes from, and every dataset and model that it went into."""
        return PairLineage.model_validate(await self._transport.get(f"/v1/pairs/{pair_id}/lineage"))

    async def take_argilla(self, records: Iterable[Mapping[str, Any]]) -> ArgillaReviews:
        """Reviews from Argilla: ``records`` are what its SDK's ``records.to_list()`` gives."""
        total: dict[str, Any] = {"received": 0, "reviewed": 0, "without_answer": 0, "disagreed": [], "unknown": []}
        for rows in _batches(records):
            answer = await self._transport.post("/v1/pairs/reviews/argilla", {"records": rows})
            total = {name: value + answer[name] for name, value in total.items()}
        return ArgillaReviews.model_validate(total)


class AsyncRetractions(AsyncResource):
    """Problems and jobs whose pairs no later freeze takes."""

    async def retract_job(self, job_id: str, reason: str) -> Retraction:
        """Retract an injection job. Answers every dataset and model it reached."""
        return Retraction.model_validate(
            await self._transport.post(f"/v1/injection-jobs/{job_id}/retract", {"reason": reason})
        )

    async def retract_problem(self, problem_set_id: str, problem: str, reason: str) -> Retraction:
        """Retract a problem, named by its id or your own. Answers every dataset and model it reached."""
        body = {"problem": problem, "reason": reason}
        return Retraction.model_validate(await self._transport.post(f"/v1/problem-sets/{problem_set_id}/retract", body))

    async def get(self, retraction_id: str) -> Retraction:
        """One retraction, with what it has reached by now."""
        return Retraction.model_validate(await self._transport.get(f"/v1/retractions/{retraction_id}"))

    def list(self) -> AsyncRows[Retraction]:
        """Every retraction, newest first."""
        return self._transport.rows(Retraction.model_validate, "/v1/retractions")

    async def withdraw(self, retraction_id: str) -> Retraction:
        """Take a retraction back: later freezes take the pairs again."""
        return Retraction.model_validate(await self._transport.delete(f"/v1/retractions/{retraction_id}"))


def _batches(rows: Iterable[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    held = [dict(row) for row in rows]
    return [held[start : start + _AT_ONCE] for start in range(0, len(held), _AT_ONCE)]
