"""A freeze on a file system of its own that has too little space: the kernel's own refusal, in the midst of writing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.files import FileStore
from models.session import Database
from models.settings import StoreSettings
from tests.workers.freezing.conftest import Freeze, NoEngine, claim, end
from workers.judge import JudgePool
from workers.stages.base import StageContext
from workers.stages.disk import DiskFull
from workers.stages.freeze import freeze


@pytest.fixture
def small_disk(store: StoreSettings) -> Iterator[Path]:
    """The store's folder as a file system of 48 KiB; without the right to mount one, the test is left out."""
    folder = Path(store.files)
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a file system here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_that_is_full_is_told_and_tried_again(
    small_disk: Path, database: Database, store: StoreSettings, judge: JudgePool, frozen: Freeze, job: str
) -> None:
    """The stage raises and leaves no byte behind; with space made, the next try of the same lease succeeds."""
    lease = claim(database, "sums", {"jobs": [job]})
    context = StageContext(database, store, lease, NoEngine(), judge, lambda: False)
    with pytest.raises(DiskFull, match=r"the disk of .* is full: make space there; this is tried again"):
        freeze(context)
    files = FileStore(store.files)
    assert files.names("datasets") == files.names(".tmp") == []
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    end(database, lease, freeze(context))
    assert files.names("datasets")
