"""The processes of a run on two hosts: the same as on one, and what they must agree upon before they train."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_processes import in_two_processes
from tests.training.test_run import assert_equal_bits, make_spec, messages, weights
from workers.training.protocol import RunSpec
from workers.training.supervise.launch import Meeting, command, config_file, processes_here
from workers.training.supervise.meeting import free_port

pytestmark = pytest.mark.timeout(900)


def on_two_hosts(specs: list[RunSpec], folder: Path, launch: str = "ddp-cpu") -> list[list[dict[str, Any]]]:
    """What the first process of each of two hosts says, of one process each. Nobody renews a lease here."""
    here = {**processes_here(config_file(launch)), "processes": 1}
    port, started = free_port(), []
    with ExitStack() as stack:
        for rank, spec in enumerate(specs):
            path = folder / f"spec-{rank}.json"
            path.write_text(spec.model_copy(update={"lease_seconds": 3600.0, "hosts": 2}).model_dump_json())
            meeting = Meeting(hosts=2, rank=rank, address="127.0.0.1", port=port, own_address="127.0.0.1", **here)
            line, environment = command(None, 1, path, meeting)
            errors = stack.enter_context((folder / f"errors-{rank}.log").open("w"))
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            started.append(stack.enter_context(subprocess.Popen(line, env=environment, **pipes)))
        return [list(messages(process)) for process in started]


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["ddp-cpu", pytest.param("fsdp-cpu", marks=pytest.mark.long)])
def test_two_hosts_train_as_two_processes_of_one(launch: str, tmp_path: Path) -> None:
    options = {"epochs": 2, "nll_weight": 1.0, "lora": {"r": 4, "alpha": 8, "dropout": 0.2}}
    one, two = (make_spec(tmp_path, name, **options) for name in ("one", "two"))
    alone = in_two_processes(one, tmp_path, launch=launch)
    first, second = on_two_hosts([two, two], tmp_path, launch)
    assert first[-1]["type"] == "finished"
    told = [message for message in first if message["type"] == "metrics"]
    assert len(told) > 2
    assert told == [message for message in alone if message["type"] == "metrics"]
    assert_equal_bits(weights(one), weights(two))
    assert not [message for message in second if message["type"] in ("checkpoint", "finished")], "one host writes"
