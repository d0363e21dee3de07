"""What a run would train on, before it is started: asked of a short-lived process, so that no caller loads a tokenizer.

``preview`` answers, JSON-friendly: ``refused`` (why such a run would be refused, or null), ``report`` (counts, as in
workers.training.preflight), ``examples`` (tokens of some pairs with the trained spans marked, and where EOS stands),
``steps``, ``tokens`` (of one epoch: as plain pairs, as trees, and their ratio), ``parameters``, ``memory_bytes`` and
``seconds`` (estimates; see workers.training.estimates).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from sqlalchemy.orm import Session

from models.settings import StoreSettings
from workers.training.config import TrainingConfig
from workers.training.protocol import Refused
from workers.training.registry import preview_spec
from workers.training.spec import RunSpec

TIMEOUT_SECONDS = 60.0


def prepare(
    session: Session, store: StoreSettings, dataset_id: str, base_model_id: str, config: TrainingConfig
) -> RunSpec:
    """The spec of a run that is not in the store. Raises Refused when it could never start."""
    return preview_spec(session, store, dataset_id, base_model_id, config)


def preview(spec: RunSpec, examples: int = 3, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask a child about ``spec``; no session may be open meanwhile. Raises Refused when it fails or takes too long."""
    command = [sys.executable, "-m", "workers.training.preview_child", "--examples", str(examples)]
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
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
        raise Refused(f"the preview took longer than {timeout_seconds:g} s") from error
    except subprocess.CalledProcessError as error:
        raise Refused(f"the preview failed: {error.stderr.strip()[-500:]}") from error
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
