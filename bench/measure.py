"""Seconds and bytes of one piece of work, on CPU and CUDA."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def seconds(work: Any, device: str) -> float:
    """Seconds of one call, by :func:`clock`."""
    now = clock(device)
    _synchronize(device)
    began = now()
    work()
    _synchronize(device)
    return now() - began


def clock(device: str) -> Callable[[], float]:
    """Processor time of this process on one CPU thread, else the wall clock."""
    return time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(work: Any, device: str) -> int:
    """Peak of what ``work`` allocates above what was there before."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    recorded = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for recording in sorted(recorded, key=lambda e: e.start_ns()):
        held += recording.nbytes()
        peak = max(peak, held)
    return peak
