"""The resources of the API, one class each."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from client.downloads import download
from client.jobs import Jobs, Resource
from client.records import (
    BroughtSolutions,
    Checkpoint,
    Comparison,
    Dataset,
    DatasetFile,
    Estimate,
    Evaluation,
    InjectionJob,
    LanguageModel,
    Metric,
    Pair,
    Preset,
    ProblemSet,
    Rejudging,
    Solution,
    TrainingJob,
    TrainingPreview,
)

_CONTENT_TYPES = {
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
}


class Files(Resource):
    """A resource whose rows have files to download."""

    path: str

    def _files(self, row_id: str) -> list[DatasetFile]:
        answer = self._transport.get(f"{self.path}/{row_id}/files")
        return [DatasetFile.model_validate(row) for row in answer["data"]]

    def _download(self, row_id: str, folder: Path) -> Path:
        for file in self._files(row_id):
            download(self._transport, file, folder)
        return folder


class ProblemSets(Resource):
    """Problem sets and the solutions brought along with them."""

    def create(
        self, name: str, problems: Iterable[Mapping[str, Any]], *, domain: str = "math", **criteria: Any
    ) -> ProblemSet:
        """Post problems in our fields or a known format; one bad row refuses the whole set, naming it.

        ``criteria`` hold for every problem without its own: ``tolerance``, ``unordered``, ``extract``. ``license`` and
        ``source_url`` are taken as well.
        """
        body = {"name": name, "domain": domain, **criteria, "problems": [dict(row) for row in problems]}
        return ProblemSet.model_validate(self._transport.post("/v1/problem-sets", body))

    def upload(self, name: str, file: Path, *, domain: str = "math", **criteria: Any) -> ProblemSet:
        """Post a JSONL, CSV or Parquet file; bad rows are listed in ``rejected``. Raises ValueError for others.

        ``criteria`` as in ``create``.
        """
        kind = _CONTENT_TYPES.get(file.suffix.lower())
        if kind is None:
            raise ValueError(f"{file.name}: give a file that ends in {', '.join(_CONTENT_TYPES)}")
        answer = self._transport.post(
            "/v1/problem-sets",
            content=file.read_bytes(),
            params={
                "name": name,
                "domain": domain,
                **{key: json.dumps(value) if isinstance(value, dict) else value for key, value in criteria.items()},
            },
            headers={"Content-Type": kind},
        )
        return ProblemSet.model_validate(answer)

    def get(self, problem_set_id: str) -> ProblemSet:
        """One problem set."""
        return ProblemSet.model_validate(self._transport.get(f"/v1/problem-sets/{problem_set_id}"))

    def list(self) -> Iterator[ProblemSet]:
        """Every problem set, newest first."""
        return (ProblemSet.model_validate(row) for row in self._transport.pages("/v1/problem-sets"))

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


class InjectionJobs(Jobs[InjectionJob]):
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
        """Try the quarantined shards of a running job again."""
        return self._post(f"{job_id}/retry")

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


class Pairs(Resource):
    """Preference pairs of all jobs."""

    def get(self, pair_id: str) -> Pair:
        """One pair."""
        return Pair.model_validate(self._transport.get(f"/v1/pairs/{pair_id}"))

    def list(self, **filters: Any) -> Iterator[Pair]:
        """Pairs, oldest first.

        Filters: ``job``, ``type``, ``error_kind``, ``form``, ``editor``, ``evidence``, ``problem``.
        """
        return (Pair.model_validate(row) for row in self._transport.pages("/v1/pairs", page_size=500, **filters))


class Datasets(Files, Jobs[Dataset]):
    """Datasets: pairs frozen to files. They have files once they have succeeded."""

    path, record = "/v1/datasets", Dataset

    def create(
        self,
        name: str,
        jobs: Iterable[str] = (),
        *,
        datasets: Iterable[str] | Mapping[str, float] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Freeze the pairs of ended injection jobs, and of finished datasets: their ids, or ids with weights."""
        weights = datasets if isinstance(datasets, Mapping) else dict.fromkeys(datasets)
        mixed = [{"id": each} if weight is None else {"id": each, "weight": weight} for each, weight in weights.items()]
        body = {"name": name, "jobs": list(jobs), "config": dict(config or {})}
        return self._create({**body, **({"datasets": mixed} if mixed else {})})

    def files(self, dataset_id: str) -> list[DatasetFile]:
        """The files of a dataset, with their digests."""
        return self._files(dataset_id)

    def download(self, dataset_id: str, folder: Path) -> Path:
        """Every file into ``folder``, verified; partial files are resumed, complete ones kept. Answers ``folder``.

        Raises DigestMismatch when a file is not what the manifest says.
        """
        return self._download(dataset_id, folder)


class TrainingJobs(Jobs[TrainingJob]):
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

    def metrics(self, job_id: str, **filters: Any) -> Iterator[Metric]:
        """Metrics by optimizer step."""
        rows = self._transport.pages(f"{self.path}/{job_id}/metrics", page_size=500, **filters)
        return (Metric.model_validate(row) for row in rows)

    def checkpoints(self, job_id: str) -> Iterator[Checkpoint]:
        """Checkpoints by step."""
        rows = self._transport.pages(f"{self.path}/{job_id}/checkpoints")
        return (Checkpoint.model_validate(row) for row in rows)


class Evaluations(Jobs[Evaluation]):
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


class LanguageModels(Files):
    """The registry, as far as this workspace may use it. Files have those models that a training job made."""

    path = "/v1/models"

    def list(self) -> list[LanguageModel]:
        """Every language model a job may name."""
        return [LanguageModel.model_validate(row) for row in self._transport.get(self.path)["data"]]

    def files(self, name: str) -> builtins.list[DatasetFile]:
        """The files of a language model that a training job made, with their digests."""
        return self._files(name)

    def download(self, name: str, folder: Path) -> Path:
        """Every file into ``folder``, verified, as for a dataset. Answers ``folder``. Raises DigestMismatch."""
        return self._download(name, folder)

    def get(self, name: str) -> LanguageModel:
        """One by its name."""
        return LanguageModel.model_validate(self._transport.get(f"{self.path}/{name}"))


class Presets(Resource):
    """Presets of injection jobs."""

    def list(self) -> list[Preset]:
        """Every preset, resolved."""
        return [Preset.model_validate(row) for row in self._transport.get("/v1/presets")["data"]]
