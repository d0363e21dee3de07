"""Folders are complete or absent: every fault leaves the last good checkpoint, and says what is wrong with the rest."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.training.folders import Damaged, verify, write_folder
from workers.training.run.checkpoints import best_step, checkpoint_name, newest_good, prune, set_aside, steps


def write(folder: Path, step: int, content: bytes = b"weights", score: float | None = None) -> Path:
    target = folder / checkpoint_name(step)

    def fill(at: Path) -> None:
        (at / "model.safetensors").write_bytes(content)
        (at / "state.json").write_text(str(step))

    write_folder(target, fill, {"step": step, "score": score})
    return target


def newest(folder: Path) -> tuple[int | None, list[str]]:
    rejected: list[str] = []
    found = newest_good(folder, lambda _step, why: rejected.append(why))
    return (found[1]["step"] if found else None), rejected


FAULTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda at: (at / "model.safetensors").write_bytes(b"wei"),
    "corrupt": lambda at: (at / "model.safetensors").write_bytes(b"weightz"),
    "file missing": lambda at: (at / "state.json").unlink(),
    "manifest missing": lambda at: (at / "manifest.json").unlink(),
    "manifest torn": lambda at: (at / "manifest.json").write_text('{"files": ['),
    "manifest of another kind": lambda at: (at / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(fault: str, tmp_path: Path) -> None:
    write(tmp_path, 1)
    FAULTS[fault](write(tmp_path, 2))
    step, rejected = newest(tmp_path)
    assert step == 1
    assert len(rejected) == 1
    assert checkpoint_name(2) in rejected[0]


def test_none_left(tmp_path: Path) -> None:
    FAULTS["corrupt"](write(tmp_path, 1))
    assert newest(tmp_path) == (None, ["step-000000001/model.safetensors is corrupt"])
    assert newest(tmp_path / "absent") == (None, [])


def die_at(point: int, folder: Path) -> int:
    """Write checkpoint 2 in a process that dies at its ``point``-th write, flush or rename; its exit status."""
    pid = os.fork()
    if pid == 0:
        left = [point]

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **kwargs: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return real(*args, **kwargs)

            return call

        os.fsync = dying(os.fsync)  # type: ignore[assignment]
        Path.rename = dying(Path.rename)  # type: ignore[assignment, method-assign]
        Path.write_bytes = dying(Path.write_bytes)  # type: ignore[assignment, method-assign]
        Path.write_text = dying(Path.write_text)  # type: ignore[assignment, method-assign]
        try:
            write(folder, 2)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_death_at_every_write_flush_and_rename(tmp_path: Path) -> None:
    statuses = []
    for point in range(20):
        folder = tmp_path / str(point)
        write(folder, 1)
        statuses.append(die_at(point, folder))
        step, rejected = newest(folder)
        assert rejected == []  # what has a plain name is complete
        assert step in ((1, 2) if statuses[-1] == 9 else (2,))
        write(folder, 2)  # and the next attempt is not in its own way
        assert newest(folder)[0] == 2
        assert prune(folder, keep=2) == []
        assert sorted(p.name for p in folder.iterdir()) == [checkpoint_name(1), checkpoint_name(2)]
    assert statuses.count(9) >= 8
    assert statuses[-1] == 0


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    target = write(tmp_path, 1)

    def full(at: Path) -> None:
        (at / "model.safetensors").write_bytes(b"wei")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_folder(target, full, {"step": 1})
    assert newest(tmp_path) == (1, [])
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint_name(1)]


def test_writing_again_replaces(tmp_path: Path) -> None:
    write(tmp_path, 1, b"old")
    target = write(tmp_path, 1, b"new")
    verify(target)
    assert (target / "model.safetensors").read_bytes() == b"new"


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    for step in (3, 1, 2):
        write(tmp_path, step)
    assert prune(tmp_path, keep=2) == [1]
    assert steps(tmp_path) == [2, 3]


def test_prune_keeps_the_best_until_there_is_a_better_one(tmp_path: Path) -> None:
    kept = []
    for step, score in enumerate([None, 0.5, 0.3, 0.4, 0.9, None, 0.3, 0.8, 0.1], start=1):
        write(tmp_path, step, score=score)
        prune(tmp_path, keep=2, best=best_step(tmp_path))
        kept.append(steps(tmp_path))
    assert kept == [[1], [1, 2], [2, 3], [3, 4], [3, 4, 5], [3, 5, 6], [6, 7], [7, 8], [8, 9]]


def test_damaged_ones_set_aside_do_not_count_among_the_newest(tmp_path: Path) -> None:
    write(tmp_path, 100, score=0.1)
    for step in (300, 400):
        FAULTS["truncated"](write(tmp_path, step, score=0.5))
    assert newest(tmp_path)[0] == 100
    for step in (300, 400, 400):  # twice: another process may have been quicker
        set_aside(tmp_path, step)
    write(tmp_path, 200, score=0.4)
    assert prune(tmp_path, keep=2, best=best_step(tmp_path)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint_name(100), checkpoint_name(200)]


def test_whoever_waits_hears_of_every_file_before_and_after_its_flush(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    def fill(at: Path) -> None:
        for name in "abc":
            (at / name).write_text(name)

    write_folder(tmp_path / "folder", fill, {}, lambda done, total: heard.append((done, total)))
    assert heard == [(0, 1), (0, 3), (0, 3), (1, 3), (1, 3), (2, 3), (2, 3)]


def test_a_manifest_is_checked_against_the_files(tmp_path: Path) -> None:
    target = write(tmp_path, 1)
    (target / "state.json").write_text("12")
    with pytest.raises(Damaged, match="2 of 1 bytes"):
        verify(target)
