"""Marks of weights: a text that differs where an engine's answers may, without reading gigabytes. Standard library.

A folder's mark covers names, sizes and times of change of its files, and samples of their contents. So the same folder
written anew is another one, and so is its copy on another disk; weights in place of others are never taken for them.
A model of the hub has a mark only where its commit is named: a branch may move.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SAMPLES, _SAMPLE_BYTES = 16, 4096  # of each file, spread over it
_ADAPTER = "adapter_config.json"


def weights_mark(config: Mapping[str, Any]) -> str | None:
    """The mark of the weights and the tokenizer that a registry entry names; None where one of them has none.

    ``path``, ``tokenizer`` and ``adapter`` are folders, or hub ids with the commit ``revision``.
    """
    places = [str(config[name]) for name in ("path", "tokenizer", "adapter") if config.get(name)]
    marks = [place_mark(place, config.get("revision")) for place in places]
    return _joined(marks) if marks else None


def place_mark(place: str, revision: str | None = None) -> str | None:
    """The mark of one folder or hub id; None where it may change unseen."""
    folder = Path(place).expanduser()
    try:
        if folder.is_dir():
            return _joined([_folder_mark(folder), *_base_marks(folder)])
    except OSError:  # it is being written, or went away just now
        return None
    return f"{place}@{revision}" if _COMMIT.fullmatch(revision or "") else None


def _base_marks(folder: Path) -> list[str | None]:
    """An adapter's base, which engines load along with it."""
    file = folder / _ADAPTER
    if not file.is_file():
        return []
    try:
        told = json.loads(file.read_text("utf-8"))
        base, revision = told.get("base_model_name_or_path"), told.get("revision")
    except (ValueError, AttributeError):
        return [None]
    if not isinstance(base, str) or Path(base).expanduser().resolve() == folder.resolve():
        return [None]
    if Path(base).expanduser().is_dir():
        return [_folder_mark(Path(base).expanduser())]
    return [place_mark(base, revision if isinstance(revision, str) else None)]


def _folder_mark(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(found for found in folder.iterdir() if found.is_file()):
        status = file.stat()
        digest.update(json.dumps([file.name, status.st_size, status.st_mtime_ns]).encode())
        with file.open("rb") as opened:
            for at in range(_SAMPLES):
                opened.seek(max(0, status.st_size - _SAMPLE_BYTES) * at // (_SAMPLES - 1))
                digest.update(opened.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _joined(marks: list[str | None]) -> str | None:
    known = [mark for mark in marks if mark is not None]
    return " ".join(known) if len(known) == len(marks) else None


class LoadedMarks:
    """Marks of what an engine child has loaded, as they were when it loaded them: what changed since is not there."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str | None], str | None] = {}

    def load(self, key: str, config: Mapping[str, Any]) -> None:
        """Note the mark of a model that is about to be loaded; ``key`` names it."""
        self.drop(key)
        self._of[key, None] = weights_mark(config)

    def settle(self, key: str, config: Mapping[str, Any]) -> None:
        """Its load has ended: what changed meanwhile has no mark."""
        if self._of.get((key, None)) != weights_mark(config):
            self._of[key, None] = None

    def drop(self, key: str) -> None:
        """It is no longer loaded, nor are its adapters."""
        self._of = {place: mark for place, mark in self._of.items() if place[0] != key}

    def of(self, key: str, adapter: str | None) -> str | None:
        """The mark of what answers; an adapter is loaded by the first batch that names it."""
        if adapter is not None and (key, adapter) not in self._of:
            self._of[key, adapter] = place_mark(adapter)
        marks = [self._of.get((key, None)), *([] if adapter is None else [self._of[key, adapter]])]
        return _joined(marks)
