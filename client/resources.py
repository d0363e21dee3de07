"""The resources of the API, one class each."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from client.curation import DatasetDifference
from client.downloads import download, download_archive
from client.hub import HubTarget, Pushed, push_dataset, push_model
from client.imports import Imports
from client.jobs import Jobs, Resource
from client.life import Kept
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
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
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

    def _download_archive(self, row_id: str, target: Path) -> Path:
        return download_archive(self._transport, f"{self.path}/{row_id}/archive.zip", target)


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

    def upload(self, name: str, file: Path, *, domain: str = "math", **criteria: Any) -> ProblemSet:
        """Post a JSONL, CSV, TSV or Parquet file, or one of these packed as .gz or .zst; ValueError for others.

        Bad rows are listed in ``rejected``. ``criteria`` as in ``create``.
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


class Datasets(Imports, Files, Kept[Dataset], Jobs[Dataset]):
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

    def difference(self, before: str, after: str) -> DatasetDifference:
        """How many pairs only one of two datasets holds, by what they say."""
        return DatasetDifference.model_validate(self._transport.get(f"{self.path}/{before}/diff/{after}", limit=1))

    def differing_pairs(self, before: str, after: str, *, side: str = "added") -> Iterator[dict[str, Any]]:
        """The pairs that only ``after`` holds (``side="added"``), or only ``before`` (``"removed"``)."""
        return self._transport.pages(f"{self.path}/{before}/diff/{after}", side=side)

    def argilla_settings(self, dataset_id: str) -> dict[str, Any]:
        """Settings of an Argilla dataset for these pairs; written to a file, ``rg.Settings.from_json`` reads them."""
        answer: dict[str, Any] = self._transport.get(f"{self.path}/{dataset_id}/argilla", limit=1)["settings"]
        return answer

    def argilla_records(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """The pairs as records, each for ``rg.Record.from_dict``."""
        return self._transport.pages(f"{self.path}/{dataset_id}/argilla", rows="records")

    def files(self, dataset_id: str) -> list[DatasetFile]:
        """The files of a dataset, with their digests."""
        return self._files(dataset_id)

    def download(self, dataset_id: str, folder: Path) -> Path:
        """Every file into ``folder``, verified; partial files are resumed, complete ones kept. Answers ``folder``.

        Raises DigestMismatch when a file is not what the manifest says.
        """
        return self._download(dataset_id, folder)

    def download_archive(self, dataset_id: str, target: Path) -> Path:
        """Every file as one ZIP archive, ``target``, verified; a cut download is resumed. Answers ``target``."""
        return self._download_archive(dataset_id, target)

    def push(
        self, dataset_id: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any
    ) -> Pushed:
        """Download a dataset, check it, and upload it to the hub (client.hub.push_dataset)."""
        return push_dataset(self.download, dataset_id, HubTarget(repo, private, **target), licence)


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


class LanguageModels(Files, Kept[LanguageModel]):
    """The registry, as far as this workspace may use it. Files have those models that a training job made."""

    path, record = "/v1/models", LanguageModel

    def list(self, *, tag: str | None = None) -> list[LanguageModel]:
        """Every language model a job may name; filter: ``tag``."""
        return [LanguageModel.model_validate(row) for row in self._transport.get(self.path, tag=tag)["data"]]

    def files(self, name: str) -> builtins.list[DatasetFile]:
        """The files of a language model that a training job made, with their digests."""
        return self._files(name)

    def download(self, name: str, folder: Path) -> Path:
        """Every file into ``folder``, verified, as for a dataset. Answers ``folder``. Raises DigestMismatch."""
        return self._download(name, folder)

    def download_archive(self, name: str, target: Path) -> Path:
        """Every file as one ZIP archive, ``target``, as for a dataset. Answers ``target``. Raises DigestMismatch."""
        return self._download_archive(name, target)

    def push(self, name: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any) -> Pushed:
        """Download a trained model, check it, and upload it to the hub (client.hub.push_model)."""
        return push_model(self.download, self.get(name), HubTarget(repo, private, **target), licence)

    def get(self, name: str) -> LanguageModel:
        """One by its name."""
        return LanguageModel.model_validate(self._transport.get(f"{self.path}/{name}"))


class Presets(Resource):
    """Presets of injection jobs."""

    def list(self) -> list[Preset]:
        """Every preset, resolved."""
        return [Preset.model_validate(row) for row in self._transport.get("/v1/presets")["data"]]
