"""Folders with a manifest: what is written verifies, what changed does not, and nothing appears half done."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from models.folders import MANIFEST, Damaged, fingerprint, list_files, name_folder, verify, write_folder


def fill(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "b").write_bytes(b"bytes")
    (folder / "a").write_bytes(b"more")


def test_a_written_folder_verifies(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    manifest = write_folder(tmp_path / "it", fill, {"step": 3}, lambda done, total: heard.append((done, total)))
    assert verify(tmp_path / "it") == manifest
    assert [(entry["path"], entry["bytes"]) for entry in manifest["files"]] == [("a", 4), ("inner/b", 5)]
    assert manifest["step"] == 3
    assert heard[0] == (0, 1)
    assert heard[-1] == (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    write_folder(tmp_path / "it", fill, {})
    (tmp_path / "it" / "a").write_bytes(b"MORE")
    with pytest.raises(Damaged, match="it/a is corrupt"):
        verify(tmp_path / "it")
    (tmp_path / "it" / "a").unlink()
    with pytest.raises(Damaged, match="it/a is missing"):
        verify(tmp_path / "it")
    (tmp_path / "it" / MANIFEST).unlink()
    with pytest.raises(Damaged, match="no readable manifest"):
        verify(tmp_path / "it")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    before = write_folder(tmp_path / "it", fill, {})

    def full(folder: Path) -> None:
        (folder / "a").write_bytes(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "it", full, {})
    assert verify(tmp_path / "it") == before
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_a_taken_name_is_refused_and_write_folder_replaces(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "it", fill, {})
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError):
        name_folder(tmp_path / "other", tmp_path / "it")
    second = write_folder(tmp_path / "it", lambda folder: (folder / "a").touch(), {})
    assert verify(tmp_path / "it") == second
    assert fingerprint(first) != fingerprint(second)


def test_entries_carry_what_the_caller_knows_of_a_file(tmp_path: Path) -> None:
    fill(tmp_path)
    found = list_files(tmp_path, extra={"inner/b": {"rows": 7}})
    assert [entry.get("rows") for entry in found] == [None, 7]
