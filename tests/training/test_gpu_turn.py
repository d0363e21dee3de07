"""A trainer on a machine whose GPU is shared: a run waits while generation has it, is told so, and gives it back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from models.events import after
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.training.conftest import events, read_run
from workers.gpu import GpuLock
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.settings import TrainerSettings


def test_a_run_waits_for_the_gpu_and_says_for_whom(
    database: Database, tmp_path: Path, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    store = StoreSettings(ERRATA_HOME=tmp_path / "home", ERRATA_GPU_TURNS="on")
    run_id, never = make_run(), threading.Event()
    with database.begin() as session:  # no weights: an attempt, once made, ends at once
        session.get_one(LanguageModel, "model_base").config = {"base_url": "http://127.0.0.1:1/v1"}
    generation = GpuLock(store.gpu_folder, "worker w")
    assert generation.take("a shard")
    daemon = TrainerDaemon(database, store, settings)
    for _ in range(3):
        assert not daemon.run_once(never)
    assert read_run(database, run_id).state == "queued"
    assert events(database, run_id) == ["training.waiting"], "once, not at every look"
    with database.read() as session:
        [told] = after(session, run_id, limit=10)
    assert told.data == {"waits_for": "the GPU, lent to worker w: a shard"}
    assert generation.wanted()
    generation.leave()
    assert daemon.run_once(never)
    assert read_run(database, run_id).state == "failed"
    assert generation.take("the next shard"), "given back at the end of the run"
    generation.leave()


def test_a_daemon_without_work_waits_for_nothing(
    database: Database, tmp_path: Path, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    store = StoreSettings(ERRATA_HOME=tmp_path / "home", ERRATA_GPU_TURNS="on")
    generation = GpuLock(store.gpu_folder, "worker w")
    assert generation.take("a shard")
    daemon, never = TrainerDaemon(database, store, settings), threading.Event()
    run_id = make_run()
    assert not daemon.run_once(never)
    assert generation.wanted()
    with database.begin() as session:
        session.delete(session.get_one(type(read_run(database, run_id)), run_id))
    assert not daemon.run_once(never)
    assert not generation.wanted()
    generation.leave()
