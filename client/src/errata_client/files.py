# Made from _async/files.py by client/tools/generate.py: change that file, not this one.
"""Resources whose rows have files: datasets and language models."""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata_client.accounts import AddedModel
from errata_client.curation import DatasetDifference
from errata_client.downloads import download, download_archive
from errata_client.errors import ErrataError
from errata_client.handles import Dataset
from errata_client.hub import HubTarget, Pushed, push_dataset, push_model
from errata_client.imports import Imports
from errata_client.jobs import Jobs, Resource
from errata_client.life import Kept
from errata_client.records import DatasetFile, LanguageModel
from errata_client.tables import cache_folder, chosen_shape, load_hf, load_pandas, require, split_files
from errata_client.transport import Rows
from errata_client.waiting import in_thread

if TYPE_CHECKING:
    import datasets
    import pandas


class Files(Resource):
    """A resource whose rows have files to download."""

    path: str

    def _files(self, row_id: str) -> list[DatasetFile]:
        answer = self._transport.get(f"{self.path}/{row_id}/files")
        return [DatasetFile.model_validate(row) for row in answer["data"]]

    def _download(self, row_id: str, folder: str | Path) -> Path:
        target = Path(folder)
        for file in self._files(row_id):
            download(self._transport, file, target)
        return target

    def _download_archive(self, row_id: str, target: str | Path) -> Path:
        return download_archive(self._transport, f"{self.path}/{row_id}/archive.zip", Path(target))


class Datasets(Imports, Files, Kept[Dataset], Jobs[Dataset]):
    """Datasets: pairs frozen to files. They have files once they have succeeded."""

    path, record = "/v1/datasets", Dataset

    def create(
        self,
        name: str,
        jobs: Iterable[str] = (),
        *,
        datasets: Iterable[str] | Mapping[str, float | None] = (),
        config: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Freeze the pairs of ended injection jobs, and of finished datasets: their ids, or ids with weights."""
        return self._create(self._asked(name, jobs, datasets, config))

    def preview(
        self,
        jobs: Iterable[str] = (),
        *,
        datasets: Iterable[str] | Mapping[str, float | None] = (),
        config: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """How many rows each shape of such a dataset would have, and what to know of it. Freezes nothing."""
        body = self._asked("preview", jobs, datasets, config)
        answer: dict[str, Any] = self._transport.post(f"{self.path}/preview", body)
        return answer

    @staticmethod
    def _asked(
        name: str,
        jobs: Iterable[str],
        datasets: Iterable[str] | Mapping[str, float | None],
        config: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        weights = datasets if isinstance(datasets, Mapping) else dict.fromkeys(datasets)
        mixed = [{"id": each} if weight is None else {"id": each, "weight": weight} for each, weight in weights.items()]
        body = {"name": name, "jobs": list(jobs), "config": dict(config or {})}
        return {**body, **({"datasets": mixed} if mixed else {})}

    def difference(self, before: str, after: str) -> DatasetDifference:
        """How many pairs only one of two datasets holds, by what they say."""
        return DatasetDifference.model_validate(self._transport.get(f"{self.path}/{before}/diff/{after}", limit=1))

    def differing_pairs(self, before: str, after: str, *, side: str = "added") -> Rows[dict[str, Any]]:
        """The pairs that only ``after`` holds (``side="added"``), or only ``before`` (``"removed"``)."""
        return self._transport.pages(f"{self.path}/{before}/diff/{after}", side=side)

    def argilla_settings(self, dataset_id: str) -> dict[str, Any]:
        """Settings of an Argilla dataset for these pairs; written to a file, ``rg.Settings.from_json`` reads them."""
        answer = self._transport.get(f"{self.path}/{dataset_id}/argilla", limit=1)
        settings: dict[str, Any] = answer["settings"]
        return settings

    def argilla_records(self, dataset_id: str) -> Rows[dict[str, Any]]:
        """The pairs as records, each for ``rg.Record.from_dict``."""
        return self._transport.pages(f"{self.path}/{dataset_id}/argilla", rows="records")

    def files(self, dataset_id: str) -> builtins.list[DatasetFile]:
        """The files of a dataset, with their digests."""
        return self._files(dataset_id)

    def download(self, dataset_id: str, folder: str | Path) -> Path:
        """Every file into ``folder``, verified; partial files are resumed, complete ones kept. Answers ``folder``.

        Raises DigestMismatch when a file is not what the manifest says.
        """
        return self._download(dataset_id, folder)

    def download_archive(self, dataset_id: str, target: str | Path) -> Path:
        """Every file as one ZIP archive, ``target``, verified; a cut download is resumed. Answers ``target``."""
        return self._download_archive(dataset_id, target)

    def to_hf(
        self, dataset_id: str, shape: str | None = None, *, folder: str | Path | None = None
    ) -> datasets.DatasetDict:
        """One shape (default: the dataset's own) with all its splits, for ``datasets``.

        Its files are downloaded as by ``download``, into ``folder`` or a cache. Raises ErrataError for a shape that it
        does not have, and, before it downloads, where ``datasets`` is not installed.
        """
        require("datasets", method="to_hf")
        paths = self._shape(dataset_id, shape, folder)
        return in_thread(load_hf, paths)

    def to_pandas(
        self, dataset_id: str, shape: str | None = None, *, split: str = "train", folder: str | Path | None = None
    ) -> pandas.DataFrame:
        """One split of one shape, as a frame; otherwise as ``to_hf``. Needs ``pandas`` and ``pyarrow``."""
        require("pandas", "pyarrow", method="to_pandas")
        paths = self._shape(dataset_id, shape, folder, split)
        if split not in paths:
            raise ErrataError(f"{dataset_id} has no split {split!r} of this shape; say train or test")
        return in_thread(load_pandas, paths[split])

    def _shape(
        self, dataset_id: str, shape: str | None, folder: str | Path | None, split: str | None = None
    ) -> dict[str, Path]:
        """The downloaded file of each split of a shape, or of one split."""
        chosen = chosen_shape(self.get(dataset_id), shape)
        target = Path(folder) if folder is not None else cache_folder(dataset_id)
        wanted = split_files(self._files(dataset_id), chosen)
        paths: dict[str, Path] = {}
        for name, file in wanted.items():
            if split in (None, name):
                paths[name] = download(self._transport, file, target)
        return paths

    def push(
        self, dataset_id: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any
    ) -> Pushed:
        """Download a dataset, check it, and upload it to the hub (errata_client.hub.push_dataset)."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._download(dataset_id, scratch)
            return in_thread(push_dataset, folder, dataset_id, HubTarget(repo, private, **target), licence)


class LanguageModels(Files, Kept[LanguageModel]):
    """The registry, as far as this workspace may use it. Files have those models that a training job made."""

    path, record = "/v1/models", LanguageModel

    def list(self, *, tag: str | None = None) -> list[LanguageModel]:
        """Every language model a job may name; filter: ``tag``."""
        answer = self._transport.get(self.path, tag=tag)
        return [LanguageModel.model_validate(row) for row in answer["data"]]

    def add(self, name: str, *, engine: str = "transformers", settings: Mapping[str, Any]) -> AddedModel:
        """Register a model, or change what a name stands for (scope ``admin``); ``notes`` tells what may be missing.

        Raises InvalidRequest for a folder, hub id or address that the operator's ``ERRATA_MODEL_SOURCES``
        does not list.
        """
        body = {"name": name, "engine": engine, "settings": dict(settings)}
        return AddedModel.model_validate(self._transport.post(self.path, body))

    def files(self, name: str) -> builtins.list[DatasetFile]:
        """The files of a language model that a training job made, with their digests."""
        return self._files(name)

    def download(self, name: str, folder: str | Path) -> Path:
        """Every file into ``folder``, verified, as for a dataset. Answers ``folder``. Raises DigestMismatch."""
        return self._download(name, folder)

    def download_archive(self, name: str, target: str | Path) -> Path:
        """Every file as one ZIP archive, ``target``, as for a dataset. Answers ``target``. Raises DigestMismatch."""
        return self._download_archive(name, target)

    def push(self, name: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any) -> Pushed:
        """Download a trained model, check it, and upload it to the hub (errata_client.hub.push_model)."""
        model = self.get(name)
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._download(name, scratch)
            return in_thread(push_model, folder, model, HubTarget(repo, private, **target), licence)

    def get(self, name: str) -> LanguageModel:
        """One by its name."""
        return LanguageModel.model_validate(self._transport.get(f"{self.path}/{name}"))
