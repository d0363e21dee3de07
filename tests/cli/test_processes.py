"""What a role does to its own process."""

from __future__ import annotations

import subprocess
import sys

LOOKED_AT = """
import gc
from cli.processes import spare_collector
before = len(gc.get_objects())
spare_collector()
print(before, len(gc.get_objects()), *gc.get_threshold())
"""


def test_the_collector_leaves_what_is_imported_alone() -> None:
    """A full round over a worker's libraries stopped its requests for 0.2 s, several times in a job."""
    answer = subprocess.run([sys.executable, "-c", LOOKED_AT], capture_output=True, text=True, check=True, timeout=120)
    before, after, often, *_ = map(int, answer.stdout.split())
    assert before > 50_000
    assert after < 1_000
    assert often >= 10_000
