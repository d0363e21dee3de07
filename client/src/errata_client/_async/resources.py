"""Injection jobs, training jobs, evaluations, and what belongs to them, one class each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errata_client._async.downloads import download_archive
from errata_client._async.handles import (
    AsyncEstimate,
    AsyncEvaluation,
    AsyncInjectionJob,
    AsyncRejudging,
    AsyncTrainingJob,
)
from errata_client._async.jobs import AsyncJobs, AsyncResource
from errata_client._async.life import AsyncKept
from errata_client._async.transport import AsyncRows
from errata_client.records import Checkpoint, Comparison, Metric, Pair, Preset, Solution, TrainingPreview


class AsyncInjectionJobs(AsyncKept[AsyncInjectionJob], AsyncJobs[AsyncInjectionJob]):
    """Injection jobs."""

    path, record = "/v1/injection-jobs", AsyncInjectionJob

    async def create(
        self,
        problem_set: str,
        *,
        language_model: str | None = None,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
        priority: str | None = None,
    ) -> AsyncInjectionJob:
        """Start a job; ``config`` overrides the preset section by section. ``priority``: low, normal or high."""
        body = {"problem_set": problem_set, "language_model": language_model, "preset": preset, "name": name}
        urgent = {} if priority is None else {"priority": priority}
        return await self._create({**body, **urgent, "config": dict(config or {})})

    async def estimate(
        self,
        problem_set: str,
        *,
        language_model: str | None = None,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        pilot_problems: int | None = None,
    ) -> AsyncEstimate:
        """Start a pilot over a few problems of the job; ``wait()`` for its forecast."""
        body: dict[str, Any] = {"problem_set": problem_set, "language_model": language_model, "preset": preset}
        body |= {"config": dict(config or {}), "pilot_problems": pilot_problems}
        given = {name: value for name, value in body.items() if value is not None}
        answer = await self._transport.post(f"{self.path}:estimate", given)
        return AsyncEstimates(self._transport)._made(AsyncEstimate, answer)

    async def retry(self, job_id: str) -> AsyncInjectionJob:
        """Try again what failed: a running job's quarantined shards, or an ended job's missing problems in a new job.

        The answer is the job that tries them; a new one names the old in ``retry_of``.
        """
        return await self._post(f"{job_id}/retry")

    async def extend(
        self,
        job_id: str,
        *,
        problems: str | None = None,
        problem_set: str | None = None,
        samples: int | None = None,
        edits_per_solution: int | None = None,
        stop: Mapping[str, float | str | None] | None = None,
        name: str | None = None,
    ) -> AsyncInjectionJob:
        """Add to an ended job, in a new one that does only what is new. Give exactly one of the first four.

        ``problems="rest"`` takes the problems that were never begun, ``problem_set`` those of another set. ``samples``
        and ``edits_per_solution`` are per problem and solution in all. ``stop``: limits of the extension; ``{}``: none.
        """
        given: dict[str, Any] = {"problems": problems, "problem_set": problem_set, "samples": samples, "name": name}
        given |= {"edits_per_solution": edits_per_solution, "stop": None if stop is None else dict(stop)}
        return await self._post(f"{job_id}/extend", {key: value for key, value in given.items() if value is not None})

    async def set_stop(
        self,
        job_id: str,
        *,
        accepted_pairs: int | None = None,
        generated_tokens: int | None = None,
        prompt_tokens: int | None = None,
        money: float | None = None,
        deadline: str | None = None,
    ) -> AsyncInjectionJob:
        """Set the limits at which a job in work stops, in place of those it has; without any it has none.

        ``money`` in the currency of its models' prices; ``deadline`` as ``2026-12-31T18:00:00Z``.
        """
        limits: dict[str, Any] = {"accepted_pairs": accepted_pairs, "generated_tokens": generated_tokens}
        body = {**limits, "prompt_tokens": prompt_tokens, "money": money, "deadline": deadline}
        return self._made(AsyncInjectionJob, await self._transport.put(f"{self.path}/{job_id}/stop", body))

    async def pause(self, job_id: str) -> AsyncInjectionJob:
        """Let nothing of the job run until ``resume``."""
        return await self._post(f"{job_id}/pause")

    async def resume(self, job_id: str) -> AsyncInjectionJob:
        """Let a paused job go on."""
        return await self._post(f"{job_id}/resume")

    def failed_problems(self, job_id: str) -> AsyncRows[dict[str, Any]]:
        """The job's problems that raised errors, each with stage, type, message and trace."""
        return self._transport.pages(f"{self.path}/{job_id}/failed-problems", page_size=500)

    async def funnel(self, job_id: str) -> dict[str, Any]:
        """What became of every problem, sample, step, edit and pair."""
        answer: dict[str, Any] = await self._transport.get(f"{self.path}/{job_id}/funnel")
        return answer

    def problems(self, job_id: str, **filters: Any) -> AsyncRows[dict[str, Any]]:
        """What became of the job's problems; filters: ``outcome``, ``reason`` (such as ``label_suspect``)."""
        return self._transport.pages(f"{self.path}/{job_id}/problems", page_size=500, **filters)

    def solutions(self, job_id: str, **filters: Any) -> AsyncRows[Solution]:
        """The job's samples; filters: ``problem``, ``verdict``."""
        path = f"{self.path}/{job_id}/solutions"
        return self._transport.rows(Solution.model_validate, path, page_size=500, **filters)

    def pairs(self, job_id: str, **filters: Any) -> AsyncRows[Pair]:
        """The job's pairs, oldest first; filters as for ``errata.pairs.list``."""
        return self._transport.rows(Pair.model_validate, "/v1/pairs", page_size=500, job=job_id, **filters)

    def edits(self, job_id: str, **filters: Any) -> AsyncRows[dict[str, Any]]:
        """The job's edits; filters: ``kind``, ``form``, ``editor``, ``evidence``, ``reason``."""
        return self._transport.pages(f"{self.path}/{job_id}/edits", page_size=500, **filters)


class AsyncEstimates(AsyncJobs[AsyncEstimate]):
    """Forecasts of injection jobs; ``injection_jobs.estimate`` asks for one. They have no events."""

    path, record = "/v1/estimates", AsyncEstimate


class AsyncRejudgings(AsyncJobs[AsyncRejudging]):
    """Stored samples judged again by today's verifier."""

    path, record = "/v1/rejudgings", AsyncRejudging

    async def create(self, injection_job: str) -> AsyncRejudging:
        """Judge the samples of an ended injection job again; nothing of the job changes."""
        return await self._create({"injection_job": injection_job})

    def changes(self, rejudging_id: str, **filters: Any) -> AsyncRows[dict[str, Any]]:
        """Samples whose verdict or extracted answer differs; filter: ``verdict`` (today's)."""
        return self._transport.pages(f"{self.path}/{rejudging_id}/changes", page_size=500, **filters)


class AsyncTrainingJobs(AsyncKept[AsyncTrainingJob], AsyncJobs[AsyncTrainingJob]):
    """Training runs."""

    path, record = "/v1/training-jobs", AsyncTrainingJob

    async def create(
        self,
        dataset: str,
        *,
        base_model: str,
        output_name: str,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        hosts: int = 1,
    ) -> AsyncTrainingJob:
        """Train ``base_model`` on a dataset; the result is registered as ``output_name``.

        ``hosts``: trainers that train it together; it starts when all of them are there.
        """
        body = {"dataset": dataset, "base_model": base_model, "output_name": output_name, "preset": preset}
        more = {"hosts": hosts} if hosts != 1 else {}  # a service of before hosts knows no such field
        return await self._create({**body, "config": dict(config or {}), **more})

    async def preview(
        self,
        dataset: str,
        *,
        base_model: str,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        examples: int = 3,
    ) -> TrainingPreview:
        """What such a job would train on: marked tokens of some pairs, counts and estimates. Starts nothing."""
        body = {"dataset": dataset, "base_model": base_model, "preset": preset, "config": dict(config or {})}
        answer = await self._transport.post(f"{self.path}:preview", {**body, "examples": examples})
        return TrainingPreview.model_validate(answer)

    async def pause(self, job_id: str) -> AsyncTrainingJob:
        """Checkpoint and stop, until resumed."""
        return await self._post(f"{job_id}/pause")

    async def resume(self, job_id: str) -> AsyncTrainingJob:
        """Go on from the last checkpoint."""
        return await self._post(f"{job_id}/resume")

    async def resume_checkpoint(self, job_id: str, step: int, *, output_name: str | None = None) -> AsyncTrainingJob:
        """Go on from a checkpoint of an ended run, in a new run to the same end."""
        return await self._post(
            f"{job_id}/checkpoints/{step}/resume", {"output_name": output_name} if output_name else {}
        )

    async def make_model(self, job_id: str, step: int, name: str) -> AsyncTrainingJob:
        """Make a language model of a checkpoint of an ended run. Answers the run that writes it."""
        return await self._post(f"{job_id}/checkpoints/{step}/model", {"name": name})

    async def download_checkpoint(self, job_id: str, step: int, target: str | Path) -> Path:
        """A checkpoint as one ZIP archive, ``target``, verified; a cut download is resumed. Answers ``target``."""
        return await download_archive(
            self._transport, f"{self.path}/{job_id}/checkpoints/{step}/archive.zip", Path(target)
        )

    def metrics(self, job_id: str, **filters: Any) -> AsyncRows[Metric]:
        """Metrics by optimizer step."""
        path = f"{self.path}/{job_id}/metrics"
        return self._transport.rows(Metric.model_validate, path, page_size=500, **filters)

    def checkpoints(self, job_id: str) -> AsyncRows[Checkpoint]:
        """Checkpoints by step."""
        return self._transport.rows(Checkpoint.model_validate, f"{self.path}/{job_id}/checkpoints")


class AsyncEvaluations(AsyncKept[AsyncEvaluation], AsyncJobs[AsyncEvaluation]):
    """Evaluations and their comparison."""

    path, record = "/v1/evaluations", AsyncEvaluation

    async def create(
        self,
        problem_set: str,
        language_model: str,
        *,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> AsyncEvaluation:
        """Let a language model answer a problem set; greedy unless ``config`` says otherwise."""
        body = {"problem_set": problem_set, "language_model": language_model, "name": name}
        return await self._create({**body, "config": dict(config or {})})

    async def compare(self, before: str, after: str, *, profile: bool = False) -> Comparison:
        """Two evaluations of the same problems, paired; ``profile``: with the first errors of both sides."""
        asked = {"with": after, **({"profile": "true"} if profile else {})}
        answer = await self._transport.get(f"{self.path}/{before}/comparison", **asked)
        return Comparison.model_validate(answer)

    def samples(self, evaluation_id: str, **filters: Any) -> AsyncRows[dict[str, Any]]:
        """The answers; filter: ``verdict``."""
        return self._transport.pages(f"{self.path}/{evaluation_id}/samples", page_size=500, **filters)


class AsyncPresets(AsyncResource):
    """Presets of injection jobs."""

    async def list(self) -> list[Preset]:
        """Every preset, resolved."""
        answer = await self._transport.get("/v1/presets")
        return [Preset.model_validate(row) for row in answer["data"]]
