"""What processes load: the API, the workers' app and the command line leave torch and vLLM alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "vllm", "transformers", "trl", "peft", "accelerate")


@pytest.mark.parametrize(
    "module",
    ["api.app", "workers.app", "workers.dispatch", "workers.stages", "workers.worker", "cli.serve",
     "cli.processes", "errata_client", "workers.training.supervise.daemon"],
)  # fmt: skip
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_check_would_notice() -> None:
    code = "import sys, torch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
