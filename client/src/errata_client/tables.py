"""A downloaded dataset as other libraries hold it. They are imported when they are asked for, and not before."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata_client.errors import ErrataError
from errata_client.paths import inside
from errata_client.records import Dataset, DatasetFile

if TYPE_CHECKING:
    import datasets
    import pandas


def chosen_shape(dataset: Dataset, shape: str | None) -> str:
    """The shape that is asked for, else the dataset's default.

    Raises ErrataError for a dataset without files, for a shape that it does not have, and where it has no default.
    """
    manifest: Mapping[str, Any] | None = dataset.manifest
    if manifest is None:
        raise ErrataError(f"{dataset.id} is {dataset.state} and has no files; wait for it, or say why with its events")
    known = sorted(manifest.get("rows") or {})
    chosen: str | None = shape or manifest.get("default_shape")
    if chosen is None:
        raise ErrataError(f"{dataset.id} has no default shape; say shape= one of {', '.join(known)}")
    if known and chosen not in known:
        raise ErrataError(f"{dataset.id} has no shape {chosen!r}; it has {', '.join(known)}")
    return chosen


def split_files(files: Iterable[DatasetFile], shape: str) -> dict[str, DatasetFile]:
    """The file of each split of a shape: Parquet, else JSON lines. Raises ErrataError where there are none."""
    here = [file for file in files if Path(file.path).parent == Path(shape)]
    for ending in (".parquet", ".jsonl"):
        if found := {Path(file.path).stem: file for file in here if file.path.endswith(ending)}:
            return found
    raise ErrataError(f"the dataset has no files of the shape {shape!r}")


def cache_folder(dataset_id: str) -> Path:
    """Where a dataset's files are kept when no folder is named: in ``XDG_CACHE_HOME``, else in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "errata" / "datasets" / inside(dataset_id)


def load_hf(paths: Mapping[str, Path]) -> datasets.DatasetDict:
    """Splits as a ``DatasetDict``. Raises ErrataError where ``datasets`` is not installed."""
    library = _needed("datasets", "to_hf")
    read = {".parquet": library.Dataset.from_parquet, ".jsonl": library.Dataset.from_json}
    loaded: datasets.DatasetDict = library.DatasetDict(
        {split: read[path.suffix](str(path), split=split) for split, path in paths.items()}
    )
    return loaded


def load_pandas(path: Path) -> pandas.DataFrame:
    """A file as a frame. Raises ErrataError where ``pandas`` or ``pyarrow`` is not installed."""
    _needed("pyarrow", "to_pandas")
    library = _needed("pandas", "to_pandas")
    frame: pandas.DataFrame
    if path.suffix == ".parquet":
        frame = library.read_parquet(path)
    else:  # not read_json, which takes texts for dates
        with path.open(encoding="utf-8") as lines:
            frame = library.DataFrame([json.loads(row) for row in lines])
    return frame


def require(*names: str, method: str) -> None:
    """Raises ErrataError where a package is not installed: before anything is downloaded for it."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ErrataError(_missing(name, method))


def _needed(name: str, method: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ErrataError(_missing(name, method)) from error


def _missing(name: str, method: str) -> str:
    both = "pandas pyarrow" if method == "to_pandas" else name
    return f"{method} needs the package {name}, which is not installed: pip install {both}"
