"""What a run would train on, before it is started: asked of a short-lived process that can be killed.

``preview`` answers, JSON-friendly: ``refused`` (why such a run would be refused, or null), ``rows`` of the dataset and
how many were ``examined``, ``report`` (counts of these, as in workers.training.run.preflight), ``examples`` (tokens of
some pairs: the prompt is read, both sides are trained, ``divergent`` is the span in which they differ, ``eos`` where
EOS stands), ``steps``, ``tokens`` (of one epoch: as plain pairs, as packed, and their ratio), ``parameters``,
``memory_bytes``, ``disk_bytes`` and ``seconds`` (estimates). What is not known is left out.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

from workers.training.protocol import RunSpec

TIMEOUT_SECONDS = 60.0
MOST_ROWS = 20_000  # examined; the rest of a larger dataset is counted only
logger = logging.getLogger(__name__)


class PreviewFailed(Exception):
    """The preview took too long or its process died; the message tells nothing of the inside."""


def preview(
    spec: RunSpec, examples: int = 3, timeout_seconds: float = TIMEOUT_SECONDS, most_rows: int = MOST_ROWS
) -> dict[str, Any]:
    """Ask a child about ``spec``; no session may be open meanwhile. Raises PreviewFailed."""
    command = [sys.executable, "-m", "workers.training.run.preview", "--examples", str(examples)]
    command += ["--rows", str(most_rows), "--seconds", str(max(round(timeout_seconds), 1))]
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONFAULTHANDLER": "1"}
    try:
        done = subprocess.run(
            command,
            input=spec.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env=environment,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PreviewFailed(f"the preview took longer than {timeout_seconds:g} s") from error
    except subprocess.CalledProcessError as error:
        logger.error("the preview ended with %s: %s", error.returncode, error.stderr[-4000:])
        how = "needed too much memory or time" if _exhausted(error) else "failed; the reason has been logged"
        raise PreviewFailed(f"the preview {how}") from error
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _exhausted(error: subprocess.CalledProcessError) -> bool:
    return error.returncode < 0 or "MemoryError" in error.stderr
