"""The file store, local and on an object store: whole or not at all, and never outside its root."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from models.files import FileStore, UnsafePath
from models.folders import sha256_file


@pytest.fixture(params=["local", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    if request.param == "local":
        return FileStore(str(tmp_path / "files"))
    return FileStore(f"memory://errata-{secrets.token_hex(6)}")


def build(store: FileStore, path: str, text: str = "row\n") -> None:
    with store.scratch() as folder:
        (folder / "part").mkdir()
        (folder / "part" / "train.jsonl").write_text(text)
        (folder / "manifest.json").write_text("{}")
        store.publish(folder, path)


def test_a_published_folder_is_read_back(store: FileStore) -> None:
    build(store, "datasets/ds_1")
    assert store.names("datasets/ds_1") == ["manifest.json", "part/train.jsonl"]
    assert store.size("datasets/ds_1/part/train.jsonl") == 4
    assert store.read_bytes("datasets/ds_1/part/train.jsonl") == b"row\n"
    with store.open("datasets/ds_1/part/train.jsonl") as handle:
        handle.seek(1)
        assert handle.read(2) == b"ow"


def test_a_published_folder_is_never_replaced(store: FileStore) -> None:
    build(store, "datasets/ds_1", "first\n")
    with pytest.raises(FileExistsError):
        build(store, "datasets/ds_1", "second\n")
    assert store.read_bytes("datasets/ds_1/part/train.jsonl") == b"first\n"


def test_a_build_that_fails_leaves_nothing(store: FileStore) -> None:
    def fail() -> None:
        with store.scratch() as folder:
            (folder / "half").write_text("x")
            raise RuntimeError(str(folder))

    with pytest.raises(RuntimeError) as failure:
        fail()
    assert not Path(str(failure.value)).exists()


def test_an_abandoned_build_is_swept_a_day_later(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path))
    abandoned, recent = tmp_path / ".tmp" / "build-old", tmp_path / ".tmp" / "build-new"
    for folder in (abandoned, recent):
        folder.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    with store.scratch():
        assert not abandoned.exists()
        assert recent.exists()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a\0b", "x/" * 600])
def test_unsafe_paths_are_refused(store: FileStore, path: str) -> None:
    for use in (store.read_bytes, store.open, store.exists, store.size, store.names):
        with pytest.raises(UnsafePath):
            use(path)
    with pytest.raises(UnsafePath):
        build(store, path)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    store = FileStore(str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafePath):
        store.read_bytes("link")


def test_what_is_not_there(store: FileStore) -> None:
    assert not store.exists("a/b")
    assert store.names("a") == []
    for use in (store.read_bytes, store.open, store.size):
        with pytest.raises(FileNotFoundError):
            use("a/b")


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
