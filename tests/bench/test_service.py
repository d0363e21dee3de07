"""What a benchmark starts ends with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.processes import ROOT, until

_BENCHMARK = """
import sys, time
from pathlib import Path
from bench.service import running, unwind_when_told
unwind_when_told()
with running(Path(sys.argv[1]), embedded=True):
    print("ready", flush=True)
    time.sleep(600)
"""


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_terminated_benchmark_leaves_nothing_running(tmp_path: Path) -> None:
    """As a time limit ends it: the service's whole tree, in sessions of its own, ends with the benchmark."""
    command = [sys.executable, "-c", _BENCHMARK, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        started = psutil.Process(child.pid).children(recursive=True)
        assert started
        child.terminate()
        assert child.wait(120) == 143
    until(lambda: all(_gone(process) for process in started), "the service's processes to end", seconds=120)
