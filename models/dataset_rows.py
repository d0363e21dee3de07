"""Reading the rows of frozen datasets: which pairs one holds, and how two differ by content.

Everything is read from ``steps_and_full``, which every dataset of jobs has, column by column in batches: memory stays
small for a dataset of any size (a difference keeps 16 bytes for each of its rows).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.files import FileStore
from models.outputs import Dataset

_TABLE = "steps_and_full"
_CONTENT = ("type", "question", "prefix", "chosen", "rejected")
_SHOWN = ("pair_id", "problem_id", "job_id", "error_kind", *_CONTENT)
_BATCH = 4_096  # rows read at a time
_DIGEST = 16  # bytes: two different rows of a billion have one digest with a chance below 1e-20


def tables(dataset: Dataset) -> list[str]:
    """Paths of the dataset's tables of pairs in the file store, training split first; none without a manifest."""
    files = [str(entry["path"]) for entry in (dataset.manifest or {}).get("files", [])]
    found = [path for path in files if path.startswith(f"{_TABLE}/") and path.endswith(".parquet")]
    found.sort(key=lambda path: (not path.endswith("train.parquet"), path))
    return [f"{dataset.folder}/{path}" for path in found]


def count_rows(files: FileStore, dataset: Dataset, column: str, values: Collection[str]) -> int:
    """How many of the dataset's rows have one of these values in a column. Raises FileNotFoundError."""
    wanted, found = pa.array(list(values), pa.string()), 0
    for path in tables(dataset):
        for batch in _batches(files, path, (column,)):
            found += int(pc.sum(pc.is_in(batch.column(0), wanted)).as_py() or 0)
    return found


def _batches(files: FileStore, path: str, columns: Sequence[str]) -> Iterator[Any]:
    with files.open(path) as handle, pq.ParquetFile(handle) as table:
        yield from table.iter_batches(_BATCH, columns=list(columns))


@dataclass(frozen=True, slots=True)
class Contents:
    """The digests of a dataset's rows in their order, training split first, and where each split begins."""

    digests: Any  # numpy array, two integers per row
    starts: dict[str, int]  # split -> position of its first row

    def splits_of(self, positions: Any) -> Any:
        """Names of the splits of the rows at these positions."""
        at = np.searchsorted(list(self.starts.values()), positions, side="right") - 1
        return np.array(list(self.starts))[at]


def contents(files: FileStore, dataset: Dataset) -> Contents:
    """The digests of a dataset's rows. Raises FileNotFoundError."""
    return _contents(files.url, tuple(tables(dataset)))


@lru_cache(maxsize=8)  # a dataset never changes, and its pages are asked for one after the other
def _contents(url: str, paths: tuple[str, ...]) -> Contents:
    files, digests, starts = FileStore(url), bytearray(), {}
    for path in paths:
        starts[path.rpartition("/")[2].removesuffix(".parquet")] = len(digests) // _DIGEST
        for batch in _batches(files, path, _CONTENT):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                digests += _digest(values)
    # numpy neither sorts nor compares raw bytes: two integers stand for each digest.
    return Contents(np.frombuffer(bytes(digests), dtype=[("high", ">u8"), ("low", ">u8")]), starts)


def _digest(values: Sequence[str | None]) -> bytes:
    """Of what a pair says, whatever its id, job or problem row."""
    hashed = hashlib.blake2b(digest_size=_DIGEST)
    for value in values:
        text = (value or "").encode()
        hashed.update(len(text).to_bytes(8, "big") + text)
    return hashed.digest()


@dataclass(frozen=True, slots=True)
class Difference:
    """How dataset ``b`` differs from ``a``: counts of contents, and positions of rows that only one of them has.

    ``moved`` contents are in both, in other splits. A content that a dataset holds several times counts once; of its
    rows the first is listed.
    """

    common: int
    moved: int
    added: Any  # positions in b, ascending
    removed: Any  # positions in a, ascending


def difference(a: Contents, b: Contents) -> Difference:
    """Compare two datasets by what their pairs say."""
    (one, place_a), (other, place_b) = (np.unique(side.digests, return_index=True) for side in (a, b))
    in_b, in_a = np.isin(one, other), np.isin(other, one)
    # Both are sorted by digest: what they share stands in the same order.
    moved = int((a.splits_of(place_a[in_b]) != b.splits_of(place_b[in_a])).sum())
    return Difference(int(in_b.sum()), moved, np.sort(place_b[~in_a]), np.sort(place_a[~in_b]))


def rows_at(files: FileStore, dataset: Dataset, positions: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at these positions (ascending), with ``split``. Reads only the row groups that hold one of them."""
    found: list[dict[str, Any]] = []
    start = 0
    for path in tables(dataset):
        split = path.rpartition("/")[2].removesuffix(".parquet")
        with files.open(path) as handle, pq.ParquetFile(handle) as table:
            for number in range(table.num_row_groups):
                stop = start + table.metadata.row_group(number).num_rows
                wanted = [place - start for place in positions if start <= place < stop]
                if wanted:
                    rows = table.read_row_group(number, columns=list(_SHOWN)).take(wanted).to_pylist()
                    found += [{**row, "split": split} for row in rows]
                start = stop
    return found
