"""Which checkpoints a run goes on from, and what it tells while it loads and saves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.test_run import make_spec, run
from workers.training.folders import MANIFEST
from workers.training.protocol import CannotTrain
from workers.training.run.checkpoints import checkpoint_name


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    run(make_spec(tmp_path), stop_at=2)
    with pytest.raises(CannotTrain, match=r"its config\.beta is 0\.3, not 0\.9"):
        run(make_spec(tmp_path, beta=0.9))


def test_a_checkpoint_from_before_a_field_was_there_goes_on(tmp_path: Path) -> None:
    """An upgrade adds fields to the configuration; the runs in flight do not become others by that."""
    spec = make_spec(tmp_path, lora={"r": 4, "alpha": 8})
    run(spec, stop_at=2)
    path = spec.checkpoints / checkpoint_name(3) / MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["config"]["best"], manifest["config"]["lora"]["merge"]
    path.write_text(json.dumps(manifest))
    assert run(spec).of("resumed")[0]["step"] == 3


def test_it_tells_of_every_file_it_saves_and_of_loading(tmp_path: Path) -> None:
    """The watchdog on progress must not take large weights for a hang."""
    recorder = run(make_spec(tmp_path, checkpoint_every=4))
    told = [message.get("phase", message["type"]) for message in recorder.said]
    assert told.index("encoding") < len(told) - 1 - told[::-1].index("loading") < told.index("ready")
    for kind in ("checkpoint", "finished"):
        at = told.index(kind)
        files = next(message for message in recorder.said if message["type"] == kind)["manifest"]["files"]
        assert told[at - 2 * len(files) : at] == ["saving"] * 2 * len(files)
        assert recorder.said[at - 1]["total"] == len(files)
