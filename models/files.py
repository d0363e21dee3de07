"""The file store: datasets, checkpoints and language models under one root, local or any fsspec URL.

Paths are relative, with forward slashes. A folder appears whole or not at all: locally by a temporary name, fsync and
rename (models.folders); on an object store file by file with ``manifest.json`` last, so that a folder without one is
not there yet.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from models.folders import MANIFEST, flush, name_folder, remove_folder

_TMP = ".tmp"
_CHUNK = 256 * 1024
_REMOTE_CHUNK = 4 * 1024 * 1024  # every chunk is a request to the object store
_MAX_PATH = 1024
_STALE_SECONDS = 86400  # a build folder this old belongs to a process that was killed


class UnsafePath(ValueError):
    """A path that would leave the store, or that the store does not take."""


class FileStore:
    """Files under ``root``: a local folder, ``file://``, or another fsspec URL such as ``s3://bucket/errata``."""

    def __init__(self, root: str) -> None:
        self.url = root
        # Other processes write too: a list that is kept would hide what they wrote.
        filesystem, base = fsspec.core.url_to_fs(root, use_listings_cache=False)
        self._fs: Any = filesystem
        self.is_local = isinstance(filesystem, LocalFileSystem)
        self._root = Path(base).resolve() if self.is_local else None
        self._base = str(base).rstrip("/")

    @property
    def local_root(self) -> Path | None:
        """The store's folder; None where it is no local one."""
        return self._root

    def local_path(self, path: str) -> Path:
        """The local path of a stored file or folder, links resolved. Raises UnsafePath for one outside the root.

        Raises ValueError on a store that is not local.
        """
        if self._root is None:
            raise ValueError("the file store is not local")
        # Resolved before it is compared: a link inside the store may point out of it.
        found = self._root.joinpath(*safe_parts(path)).resolve()
        if not found.is_relative_to(self._root):
            raise UnsafePath(f"path leaves the file store: {path!r}")
        return found

    def _name(self, path: str) -> str:
        return str(self.local_path(path)) if self.is_local else "/".join((self._base, *safe_parts(path)))

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self._fs.exists(self._name(path)))

    def size(self, path: str) -> int:
        """Size of a file in bytes. Raises FileNotFoundError."""
        return int(self._fs.size(self._name(path)))

    def open(self, path: str) -> IO[bytes]:
        """A file for reading, seekable. Raises FileNotFoundError."""
        return cast(IO[bytes], self._fs.open(self._name(path), "rb"))

    def read_bytes(self, path: str) -> bytes:
        """A whole file. Raises FileNotFoundError."""
        with self.open(path) as handle:
            return handle.read()

    def chunks(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes ``[start, stop)`` of a file, piece by piece. Raises FileNotFoundError before the first piece."""
        name = self._name(path)
        if self.is_local:
            return _read(Path(name).open("rb"), start, stop)
        self.size(path)
        return self._fetched(name, start, stop)

    def _fetched(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        # By ranges and not through an open file: object stores read far ahead behind one, 50 MB at a time on S3.
        for at in range(start, stop, _REMOTE_CHUNK):
            yield self._fs.cat_file(name, start=at, end=min(at + _REMOTE_CHUNK, stop))

    def remove(self, path: str) -> None:
        """Delete a folder; it stops being there before its first file goes. Nothing happens where there is none.

        Deleting again finishes a deletion that was interrupted.
        """
        if self.is_local:
            remove_folder(self.local_path(path))
            return
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._name(f"{path}/{MANIFEST}"))
        with suppress(FileNotFoundError):
            self._fs.rm(self._name(path), recursive=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty local folder to build in, on the store's own disk where that is local; removed at the end."""
        parent = None if self._root is None else self._root / _TMP
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
            _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix="build-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, path: str) -> None:
        """Make a built folder (see :meth:`scratch`) appear as ``path``. Raises FileExistsError when that is taken."""
        if self._root is None:
            self._upload(folder, path)
            return
        target = self.local_path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        for inner in folder.rglob("*"):
            flush(inner)
        flush(folder)
        folder.chmod(0o755)  # mkdtemp made it private to this process's user
        name_folder(folder, target)

    def _upload(self, folder: Path, path: str) -> None:
        if self.exists(f"{path}/{MANIFEST}"):
            raise FileExistsError(f"already in the file store: {path}")
        # The manifest goes last: without a rename, it is what makes the folder complete for readers.
        files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: (f.name == MANIFEST, str(f)))
        for file in files:
            self._fs.put_file(str(file), self._name(f"{path}/{file.relative_to(folder).as_posix()}"))

    def probe(self, name: str) -> None:
        """Write a small file, read it back and delete it. Raises what the file system raises where it cannot."""
        place = f"{_TMP}/{name}"
        if self.is_local:
            self.local_path(place).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._fs.pipe_file(self._name(place), b"errata")
            if self._fs.cat_file(self._name(place)) != b"errata":
                raise OSError("what was written reads otherwise")
        finally:
            with suppress(OSError):
                self._fs.rm_file(self._name(place))

    def names(self, path: str) -> list[str]:
        """Relative paths of every file under a folder, sorted; empty when it is not there."""
        base = self._name(path)
        return sorted(str(PurePosixPath(found).relative_to(base)) for found in self._fs.find(base))

    def children(self, path: str) -> list[str]:
        """Names of what lies directly in a folder, sorted; empty when it is not there."""
        base = self._name(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted({PurePosixPath(found).name for found in self._fs.ls(base, detail=False)})
        return []

    def modified(self, path: str) -> float | None:
        """When something of a folder was last written, in seconds since 1970; None where the store does not tell."""
        if self.is_local:
            folder = self.local_path(path)
            return max(found.lstat().st_mtime for found in (folder, *folder.rglob("*")))
        try:
            times = [self._fs.modified(found) for found in self._fs.find(self._name(path))]
        except NotImplementedError:
            return None
        return max((each.timestamp() for each in times), default=None)


def _read(handle: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    with handle:
        handle.seek(start)
        left = stop - start
        while left > 0 and (chunk := handle.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


def safe_parts(path: str) -> tuple[str, ...]:
    """The parts of a relative path. Raises UnsafePath for an absolute or empty one, ``..``, NUL or a backslash."""
    parts = path.split("/")
    if not path or len(path) > _MAX_PATH or "\\" in path or "\0" in path or any(p in ("", ".", "..") for p in parts):
        raise UnsafePath(f"not a path of the file store: {path[:100]!r}")
    return tuple(parts)


def _sweep(parent: Path) -> None:
    for folder in parent.glob("build-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(folder)
