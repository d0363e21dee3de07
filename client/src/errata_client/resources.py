"""The resources of the API, one class each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from errata_client.bodies import CONTENT_TYPES, DOCUMENT, FileBody
from errata_client.downloads import download_archive
from errata_client.jobs import Jobs, Resource
from errata_client.life import Kept
from errata_client.records import (
    BroughtSolutions,
    Checkpoint,
    Comparison,
    Estimate,
    Evaluation,
    InjectionJob,
    Metric,
    Preset,
    ProblemSet,
    Rejudging,
    Solution,
    TrainingJob,
    TrainingPreview,
)

_PATIENCE = httpx.Timeout(1800.0, connect=10.0)  # a million problems are stored before the answer comes


class ProblemSets(Kept[ProblemSet]):
    """Problem sets and the solutions brought along with them."""

    path, record = "/v1/problem-sets", ProblemSet

    def create(
        self, name: str, problems: Iterable[Mapping[str, Any]], *, domain: str = "math", **criteria: Any
    ) -> ProblemSet:
        """Post problems in our fields or a known format; one bad row refuses the whole set, naming it.

        ``criteria`` hold for every problem without its own: ``tolerance``, ``unordered``, ``extract``. ``mapping`` says
        which columns hold which fields, and ``solutions="reference"`` brings the rows' own solutions as well.
        ``license`` and ``source_url`` are taken as well. The same problems under the same name again answer the set
        that is there.
        """
        body = {"name": name, "domain": domain, **criteria, "problems": [dict(row) for row in problems]}
        return ProblemSet.model_validate(self._transport.post("/v1/problem-sets", body))

    def upload(self, name: str, file: str | Path, *, domain: str = "math", **criteria: Any) -> ProblemSet:
        """Post a JSONL, JSON, CSV, TSV or Parquet file, or one of these packed as .gz or .zst; ValueError for others.

        The file is read as it is sent, never as a whole. Bad rows are listed in ``rejected``. ``criteria`` as in
        ``create``. Raises OSError for a file that cannot be read.
        """
        path = Path(file)
        suffix = path.suffix.lower()
        given = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in criteria.items()}
        fields = {"name": name, "domain": domain, **{key: each for key, each in given.items() if each is not None}}
        if suffix == DOCUMENT:
            form = {key: str(each).lower() if isinstance(each, bool) else each for key, each in fields.items()}
            with path.open("rb") as data:
                answer = self._transport.post(
                    self.path, data=form, files={"file": (path.name, data)}, timeout=_PATIENCE
                )
            return ProblemSet.model_validate(answer)
        kind = CONTENT_TYPES.get(suffix)
        if kind is None:
            raise ValueError(f"{path.name}: give a file that ends in {', '.join((*CONTENT_TYPES, DOCUMENT))}")
        body = FileBody(path)
        headers = {"Content-Type": kind, **body.headers}
        return ProblemSet.model_validate(
            self._transport.post(self.path, content=body, params=fields, headers=headers, timeout=_PATIENCE)
        )

    def from_hub(
        self,
        name: str,
        dataset: str,
        *,
        config: str | None = None,
        split: str = "train",
        revision: str | None = None,
        domain: str = "math",
        **criteria: Any,
    ) -> ProblemSet:
        """Have the service take one split of a dataset on the hub (``owner/name``), where its operator allows it.

        The service downloads it with its own token. ``criteria`` as in ``create``. Raises InvalidRequest naming what
        the hub does not have.
        """
        hub = {"dataset": dataset, "config": config, "split": split, "revision": revision}
        body = {"name": name, "domain": domain, **criteria, "hub": hub}
        return ProblemSet.model_validate(self._transport.post(self.path, body, timeout=_PATIENCE))

    def get(self, problem_set_id: str) -> ProblemSet:
        """One problem set."""
        return ProblemSet.model_validate(self._transport.get(f"/v1/problem-sets/{problem_set_id}"))

    def list(self, **filters: Any) -> Iterator[ProblemSet]:
        """Every problem set, newest first; filter: ``tag``."""
        return (ProblemSet.model_validate(row) for row in self._transport.pages("/v1/problem-sets", **filters))

    def problems(self, problem_set_id: str) -> Iterator[dict[str, Any]]:
        """The problems of a set, in posting order."""
        return self._transport.pages(f"/v1/problem-sets/{problem_set_id}/problems")

    def bring_solutions(self, problem_set_id: str, solutions: Iterable[Mapping[str, Any]]) -> BroughtSolutions:
        """Bring solutions along: ``problem`` (position or id), ``source``, ``text``, and optionally ``label``.

        Sent as JSON lines; rows not taken are listed in ``rejected``. Sending the same again changes nothing.
        """
        lines = "\n".join(json.dumps(dict(row), ensure_ascii=False) for row in solutions)
        path = f"/v1/problem-sets/{problem_set_id}/solutions"
        answer = self._transport.post(path, content=lines.encode(), headers={"Content-Type": "application/jsonl"})
        return BroughtSolutions.model_validate(answer)


class InjectionJobs(Kept[InjectionJob], Jobs[InjectionJob]):
    """Injection jobs."""

    path, record = "/v1/injection-jobs", InjectionJob

    def create(
        self,
        problem_set: str,
        *,
        language_model: str | None = None,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> InjectionJob:
        """Start a job; ``config`` overrides the preset section by section."""
        body = {"problem_set": problem_set, "language_model": language_model, "preset": preset, "name": name}
        return self._create({**body, "config": dict(config or {})})

    def estimate(
        self,
        problem_set: str,
        *,
        language_model: str | None = None,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
        pilot_problems: int | None = None,
    ) -> Estimate:
        """Start a pilot over a few problems of the job; wait with ``errata.estimates.wait`` for its forecast."""
        body: dict[str, Any] = {"problem_set": problem_set, "language_model": language_model, "preset": preset}
        body |= {"config": dict(config or {}), "pilot_problems": pilot_problems}
        given = {name: value for name, value in body.items() if value is not None}
        return Estimate.model_validate(self._transport.post(f"{self.path}:estimate", given))

    def retry(self, job_id: str) -> InjectionJob:
        """Try again what failed: a running job's quarantined shards, or an ended job's missing problems in a new job.

        The answer is the job that tries them; a new one names the old in ``retry_of``.
        """
        return self._post(f"{job_id}/retry")

    def extend(
        self,
        job_id: str,
        *,
        problems: str | None = None,
        problem_set: str | None = None,
        samples: int | None = None,
        edits_per_solution: int | None = None,
        stop: Mapping[str, int | None] | None = None,
        name: str | None = None,
    ) -> InjectionJob:
        """Add to an ended job, in a new one that does only what is new. Give exactly one of the first four.

        ``problems="rest"`` takes the problems that were never begun, ``problem_set`` those of another set. ``samples``
        and ``edits_per_solution`` are per problem and solution in all. ``stop``: limits of the extension; ``{}``: none.
        """
        given: dict[str, Any] = {"problems": problems, "problem_set": problem_set, "samples": samples, "name": name}
        given |= {"edits_per_solution": edits_per_solution, "stop": None if stop is None else dict(stop)}
        return self._post(f"{job_id}/extend", {key: value for key, value in given.items() if value is not None})

    def set_stop(
        self,
        job_id: str,
        *,
        accepted_pairs: int | None = None,
        generated_tokens: int | None = None,
        prompt_tokens: int | None = None,
    ) -> InjectionJob:
        """Set the limits at which a job in work stops, in place of those it has; without any it has none."""
        limits = {"accepted_pairs": accepted_pairs, "generated_tokens": generated_tokens}
        body = {**limits, "prompt_tokens": prompt_tokens}
        answer = self._transport.request("PUT", f"{self.path}/{job_id}/stop", json=body)
        return InjectionJob.model_validate(answer.json())

    def pause(self, job_id: str) -> InjectionJob:
        """Let nothing of the job run until ``resume``."""
        return self._post(f"{job_id}/pause")

    def resume(self, job_id: str) -> InjectionJob:
        """Let a paused job go on."""
        return self._post(f"{job_id}/resume")

    def failed_problems(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job's problems that raised errors, each with stage, type, message and trace."""
        return self._transport.pages(f"{self.path}/{job_id}/failed-problems", page_size=500)

    def funnel(self, job_id: str) -> dict[str, Any]:
        """What became of every problem, sample, step, edit and pair."""
        answer: dict[str, Any] = self._transport.get(f"{self.path}/{job_id}/funnel")
        return answer

    def problems(self, job_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """What became of the job's problems; filters: ``outcome``, ``reason`` (such as ``label_suspect``)."""
        return self._transport.pages(f"{self.path}/{job_id}/problems", page_size=500, **filters)

    def solutions(self, job_id: str, **filters: Any) -> Iterator[Solution]:
        """The job's samples; filters: ``problem``, ``verdict``."""
        rows = self._transport.pages(f"{self.path}/{job_id}/solutions", page_size=500, **filters)
        return (Solution.model_validate(row) for row in rows)

    def edits(self, job_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """The job's edits; filters: ``kind``, ``form``, ``editor``, ``evidence``, ``reason``."""
        return self._transport.pages(f"{self.path}/{job_id}/edits", page_size=500, **filters)


class Estimates(Jobs[Estimate]):
    """Forecasts of injection jobs; ``injection_jobs.estimate`` asks for one. They have no events."""

    path, record = "/v1/estimates", Estimate


class Rejudgings(Jobs[Rejudging]):
    """Stored samples judged again by today's verifier."""

    path, record = "/v1/rejudgings", Rejudging

    def create(self, injection_job: str) -> Rejudging:
        """Judge the samples of an ended injection job again; nothing of the job changes."""
        return self._create({"injection_job": injection_job})

    def changes(self, rejudging_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """Samples whose verdict or extracted answer differs; filter: ``verdict`` (today's)."""
        return self._transport.pages(f"{self.path}/{rejudging_id}/changes", page_size=500, **filters)


class TrainingJobs(Kept[TrainingJob], Jobs[TrainingJob]):
    """Training runs."""

    path, record = "/v1/training-jobs", TrainingJob

    def create(
        self,
        dataset: str,
        *,
        base_model: str,
        output_name: str,
        preset: str = "errata",
        config: Mapping[str, Any] | None = None,
    ) -> TrainingJob:
        """Train ``base_model`` on a dataset; the result is registered as ``output_name``."""
        body = {"dataset": dataset, "base_model": base_model, "output_name": output_name, "preset": preset}
        return self._create({**body, "config": dict(config or {})})

    def preview(
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
        answer = self._transport.post(f"{self.path}:preview", {**body, "examples": examples})
        return TrainingPreview.model_validate(answer)

    def pause(self, job_id: str) -> TrainingJob:
        """Checkpoint and stop, until resumed."""
        return self._post(f"{job_id}/pause")

    def resume(self, job_id: str) -> TrainingJob:
        """Go on from the last checkpoint."""
        return self._post(f"{job_id}/resume")

    def resume_checkpoint(self, job_id: str, step: int, *, output_name: str | None = None) -> TrainingJob:
        """Go on from a checkpoint of an ended run, in a new run to the same end."""
        return self._post(f"{job_id}/checkpoints/{step}/resume", {"output_name": output_name} if output_name else {})

    def make_model(self, job_id: str, step: int, name: str) -> TrainingJob:
        """Make a language model of a checkpoint of an ended run. Answers the run that writes it."""
        return self._post(f"{job_id}/checkpoints/{step}/model", {"name": name})

    def download_checkpoint(self, job_id: str, step: int, target: Path) -> Path:
        """A checkpoint as one ZIP archive, ``target``, verified; a cut download is resumed. Answers ``target``."""
        return download_archive(self._transport, f"{self.path}/{job_id}/checkpoints/{step}/archive.zip", target)

    def metrics(self, job_id: str, **filters: Any) -> Iterator[Metric]:
        """Metrics by optimizer step."""
        rows = self._transport.pages(f"{self.path}/{job_id}/metrics", page_size=500, **filters)
        return (Metric.model_validate(row) for row in rows)

    def checkpoints(self, job_id: str) -> Iterator[Checkpoint]:
        """Checkpoints by step."""
        rows = self._transport.pages(f"{self.path}/{job_id}/checkpoints")
        return (Checkpoint.model_validate(row) for row in rows)


class Evaluations(Kept[Evaluation], Jobs[Evaluation]):
    """Evaluations and their comparison."""

    path, record = "/v1/evaluations", Evaluation

    def create(
        self,
        problem_set: str,
        language_model: str,
        *,
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Evaluation:
        """Let a language model answer a problem set; greedy unless ``config`` says otherwise."""
        body = {"problem_set": problem_set, "language_model": language_model, "name": name}
        return self._create({**body, "config": dict(config or {})})

    def compare(self, before: str, after: str) -> Comparison:
        """Two evaluations of the same problems, paired."""
        answer = self._transport.get(f"{self.path}/{before}/comparison", **{"with": after})
        return Comparison.model_validate(answer)

    def samples(self, evaluation_id: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """The answers; filter: ``verdict``."""
        return self._transport.pages(f"{self.path}/{evaluation_id}/samples", page_size=500, **filters)


class Presets(Resource):
    """Presets of injection jobs."""

    def list(self) -> list[Preset]:
        """Every preset, resolved."""
        return [Preset.model_validate(row) for row in self._transport.get("/v1/presets")["data"]]
