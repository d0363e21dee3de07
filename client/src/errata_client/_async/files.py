"""Resources whose rows have files: datasets and language models."""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata_client._async.downloads import download, download_archive
from errata_client._async.handles import AsyncDataset
from errata_client._async.imports import AsyncImports
from errata_client._async.jobs import AsyncJobs, AsyncResource
from errata_client._async.life import AsyncKept
from errata_client._async.transport import AsyncRows
from errata_client._async.waiting import in_thread
from errata_client.accounts import AddedModel
from errata_client.curation import DatasetDifference
from errata_client.errors import ErrataError
from errata_client.hub import HubTarget, Pushed, push_dataset, push_model
from errata_client.records import DatasetFile, LanguageModel
from errata_client.tables import cache_folder, chosen_shape, load_hf, load_pandas, require, split_files

if TYPE_CHECKING:
    import datasets
    import pandas


class AsyncFiles(AsyncResource):
    """A resource whose rows have files to download."""

    path: str

    async def _files(self, row_id: str) -> list[DatasetFile]:
        answer = await self._transport.get(f"{self.path}/{row_id}/files")
        return [DatasetFile.model_validate(row) for row in answer["data"]]

    async def _download(self, row_id: str, folder: str | Path) -> Path:
        target = Path(folder)
        for file in await self._files(row_id):
            await download(self._transport, file, target)
        return target

    async def _download_archive(self, row_id: str, target: str | Path) -> Path:
        return await download_archive(self._transport, f"{self.path}/{row_id}/archive.zip", Path(target))


class AsyncDatasets(AsyncImports, AsyncFiles, AsyncKept[AsyncDataset], AsyncJobs[AsyncDataset]):
    """Datasets: pairs frozen to files. They have files once they have succeeded."""

    path, record = "/v1/datasets", AsyncDataset

    async def create(
        self,
        name: str,
        jobs: Iterable[str] = (),
        *,
        datasets: Iterable[str] | Mapping[str, float | None] = (),
        config: Mapping[str, Any] | None = None,
    ) -> AsyncDataset:
        """Freeze the pairs of ended injection jobs, and of finished datasets: their ids, or ids with weights."""
        return await self._create(self._asked(name, jobs, datasets, config))

    async def preview(
        self,
        jobs: Iterable[str] = (),
        *,
        datasets: Iterable[str] | Mapping[str, float | None] = (),
        config: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """How many rows each shape of such a dataset would have, and what to know of it. Freezes nothing."""
        body = self._asked("preview", jobs, datasets, config)
        answer: dict[str, Any] = await self._transport.post(f"{self.path}/preview", body)
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

    async def difference(self, before: str, after: str) -> DatasetDifference:
        """How many pairs only one of two datasets holds, by what they say."""
        return DatasetDifference.model_validate(
            await self._transport.get(f"{self.path}/{before}/diff/{after}", limit=1)
        )

    def differing_pairs(self, before: str, after: str, *, side: str = "added") -> AsyncRows[dict[str, Any]]:
        """The pairs that only ``after`` holds (``side="added"``), or only ``before`` (``"removed"``)."""
        return self._transport.pages(f"{self.path}/{before}/diff/{after}", side=side)

    async def argilla_settings(self, dataset_id: str) -> dict[str, Any]:
        """Settings of an Argilla dataset for these pairs; written to a file, ``rg.Settings.from_json`` reads them."""
        answer = await self._transport.get(f"{self.path}/{dataset_id}/argilla", limit=1)
        settings: dict[str, Any] = answer["settings"]
        return settings

    def argilla_records(self, dataset_id: str) -> AsyncRows[dict[str, Any]]:
        """The pairs as records, each for ``rg.Record.from_dict``."""
        return self._transport.pages(f"{self.path}/{dataset_id}/argilla", rows="records")

    async def files(self, dataset_id: str) -> builtins.list[DatasetFile]:
        """The files of a dataset, with their digests."""
        return await self._files(dataset_id)

    async def download(self, dataset_id: str, folder: str | Path) -> Path:
        """Every file into ``folder``, verified; partial files are resumed, complete ones kept. Answers ``folder``.

        Raises DigestMismatch when a file is not what the manifest says.
        """
        return await self._download(dataset_id, folder)

    async def download_archive(self, dataset_id: str, target: str | Path) -> Path:
        """Every file as one ZIP archive, ``target``, verified; a cut download is resumed. Answers ``target``."""
        return await self._download_archive(dataset_id, target)

    async def to_hf(
        self, dataset_id: str, shape: str | None = None, *, folder: str | Path | None = None
    ) -> datasets.DatasetDict:
        """One shape (default: the dataset's own) with all its splits, for ``datasets``.

        Its files are downloaded as by ``download``, into ``folder`` or a cache. Raises ErrataError for a shape that it
        does not have, and, before it downloads, where ``datasets`` is not installed.
        """
        require("datasets", method="to_hf")
        paths = await self._shape(dataset_id, shape, folder)
        return await in_thread(load_hf, paths)

    async def to_pandas(
        self, dataset_id: str, shape: str | None = None, *, split: str = "train", folder: str | Path | None = None
    ) -> pandas.DataFrame:
        """One split of one shape, as a frame; otherwise as ``to_hf``. Needs ``pandas`` and ``pyarrow``."""
        require("pandas", "pyarrow", method="to_pandas")
        paths = await self._shape(dataset_id, shape, folder, split)
        if split not in paths:
            raise ErrataError(f"{dataset_id} has no split {split!r} of this shape; say train or test")
        return await in_thread(load_pandas, paths[split])

    async def _shape(
        self, dataset_id: str, shape: str | None, folder: str | Path | None, split: str | None = None
    ) -> dict[str, Path]:
        """The downloaded file of each split of a shape, or of one split."""
        chosen = chosen_shape(await self.get(dataset_id), shape)
        target = Path(folder) if folder is not None else cache_folder(dataset_id)
        wanted = split_files(await self._files(dataset_id), chosen)
        paths: dict[str, Path] = {}
        for name, file in wanted.items():
            if split in (None, name):
                paths[name] = await download(self._transport, file, target)
        return paths

    async def push(
        self, dataset_id: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any
    ) -> Pushed:
        """Download a dataset, check it, and upload it to the hub (errata_client.hub.push_dataset)."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = await self._download(dataset_id, scratch)
            return await in_thread(push_dataset, folder, dataset_id, HubTarget(repo, private, **target), licence)


class AsyncLanguageModels(AsyncFiles, AsyncKept[LanguageModel]):
    """The registry, as far as this workspace may use it. Files have those models that a training job made."""

    path, record = "/v1/models", LanguageModel

    async def list(self, *, tag: str | None = None) -> list[LanguageModel]:
        """Every language model a job may name; filter: ``tag``."""
        answer = await self._transport.get(self.path, tag=tag)
        return [LanguageModel.model_validate(row) for row in answer["data"]]

    async def add(self, name: str, *, engine: str = "transformers", settings: Mapping[str, Any]) -> AddedModel:
        """Register a model, or change what a name stands for (scope ``admin``); ``notes`` tells what may be missing.

        Raises InvalidRequest for a folder, hub id or address that the operator's ``ERRATA_MODEL_SOURCES``
        does not list.
        """
        body = {"name": name, "engine": engine, "settings": dict(settings)}
        return AddedModel.model_validate(await self._transport.post(self.path, body))

    async def files(self, name: str) -> builtins.list[DatasetFile]:
        """The files of a language model that a training job made, with their digests."""
        return await self._files(name)

    async def download(self, name: str, folder: str | Path) -> Path:
        """Every file into ``folder``, verified, as for a dataset. Answers ``folder``. Raises DigestMismatch."""
        return await self._download(name, folder)

    async def download_archive(self, name: str, target: str | Path) -> Path:
        """Every file as one ZIP archive, ``target``, as for a dataset. Answers ``target``. Raises DigestMismatch."""
        return await self._download_archive(name, target)

    async def push(
        self, name: str, repo: str, *, private: bool = True, licence: str | None = None, **target: Any
    ) -> Pushed:
        """Download a trained model, check it, and upload it to the hub (errata_client.hub.push_model)."""
        model = await self.get(name)
        with tempfile.TemporaryDirectory() as scratch:
            folder = await self._download(name, scratch)
            return await in_thread(push_model, folder, model, HubTarget(repo, private, **target), licence)

    async def get(self, name: str) -> LanguageModel:
        """One by its name."""
        return LanguageModel.model_validate(await self._transport.get(f"{self.path}/{name}"))
