"""Paths that a service names."""

from __future__ import annotations

from pathlib import PurePosixPath

from errata_client.errors import ErrataError


def inside(path: str) -> PurePosixPath:
    """A relative path that stays below its folder. Raises ErrataError for any other."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\\" in path:
        raise ErrataError(f"the service names a file outside the dataset: {path!r}")
    return pure
