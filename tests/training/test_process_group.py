"""Processes on CPU meet in a gloo group that does not crash."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from workers.training.run.process_group import BACKEND, join_on_cpu


def gloo_threads(pid: int | str) -> int:
    """How many worker threads of gloo groups a process has (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum((task / "comm").read_text().strip() == "pt_gloo_runloop" for task in tasks)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that torchrun gives the only process of a run."""
    meets = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # any free port
    for name, value in {**meets, "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have names in /proc only there")
@pytest.mark.parametrize("interface", [None, "lo"])
def test_a_group_on_cpu_has_one_worker_thread(
    interface: str | None, launched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them free memory twice: see gloo_threads.py beside this file."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    if interface is not None:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", interface)
    join_on_cpu()
    try:
        join_on_cpu()
        assert dist.get_backend() == BACKEND
        works = [dist.all_reduce(torch.ones(4), async_op=True) for _ in range(8)]
        assert all(work is not None and work.wait() for work in works)
        dist.barrier()
        assert gloo_threads(os.getpid()) == 1  # a thread takes its name as it starts, before its first collective
    finally:
        dist.destroy_process_group()


def test_no_group_on_gpus(launched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    join_on_cpu()
    assert not dist.is_initialized()


def test_no_group_in_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    join_on_cpu()
    assert not dist.is_initialized()
