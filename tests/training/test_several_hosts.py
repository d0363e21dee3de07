"""The processes of a run on two hosts: the same as on one, and what they must agree upon before they train."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_processes import in_two_processes
from tests.training.test_run import Recorder, assert_equal_bits, make_spec, messages, run, weights
from workers.training.protocol import SHARDING_VARIABLE, CannotTrain, RunSpec
from workers.training.run import agreement
from workers.training.supervise.launch import Meeting, command, config_file, processes_here
from workers.training.supervise.meeting import address_toward, free_port, meeting, offer
from workers.training.supervise.settings import TrainerSettings

pytestmark = pytest.mark.timeout(900)


def on_two_hosts(specs: list[RunSpec], folder: Path, launch: str = "ddp-cpu") -> list[list[dict[str, Any]]]:
    """What the first process of each of two hosts says, of one process each. Nobody renews a lease here."""
    here = {**processes_here(config_file(launch)), "processes": 1}
    port, started = free_port(), []
    with ExitStack() as stack:
        for rank, spec in enumerate(specs):
            path = folder / f"spec-{rank}.json"
            path.write_text(spec.model_copy(update={"lease_seconds": 3600.0, "hosts": 2}).model_dump_json())
            meets = Meeting(hosts=2, rank=rank, address="127.0.0.1", port=port, own_address="127.0.0.1", **here)
            line, environment = command(None, 1, path, meets)
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


def alone(monkeypatch: pytest.MonkeyPatch, *, is_first: bool = True) -> None:
    """One process that needs no other: what it would hear of them is made up."""
    monkeypatch.setattr(agreement, "is_first", lambda: is_first)
    monkeypatch.setattr(agreement, "from_first", lambda own: own)
    monkeypatch.setattr(agreement, "of_all", lambda own: [own])


def test_another_store_is_refused_by_the_host_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that hears from the first one of a file that it does not see."""
    spec = make_spec(tmp_path).model_copy(update={"hosts": 2})
    spec.checkpoints.mkdir(parents=True)
    alone(monkeypatch)
    agreement.require_one_store(spec)
    monkeypatch.setattr(agreement, "_SEEN_SECONDS", 0.0)
    monkeypatch.setattr(agreement, "from_first", lambda _token: "what the first host wrote")
    with pytest.raises(CannotTrain, match=r"does not see in .*checkpoints what the first.*mount the same folder"):
        agreement.require_one_store(spec)
    agreement.require_one_store(spec.model_copy(update={"hosts": 1}))


def test_all_go_on_where_the_first_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(tmp_path)
    run(spec, stop_at=2)
    over = spec.model_copy(update={"hosts": 2, "last_step": 3})
    alone(monkeypatch)
    found = agreement.agreed_resume_point(over, Recorder())
    assert found is not None
    assert found[1]["step"] == 3
    alone(monkeypatch, is_first=False)
    for told, step in (((3, True, None), 3), ((None, None, None), None)):
        monkeypatch.setattr(agreement, "from_first", lambda _own, told=told: told)
        point = agreement.agreed_resume_point(over, Recorder())
        assert (point and point[1]["step"]) == step
    monkeypatch.setattr(agreement, "from_first", lambda _own: (7, True, None))
    with pytest.raises(RuntimeError, match="cannot read the checkpoint of step 7"):
        agreement.agreed_resume_point(over, Recorder())
    monkeypatch.setattr(agreement, "from_first", lambda _own: (None, None, "none of them can be read"))
    with pytest.raises(CannotTrain, match="none of them can be read"):
        agreement.agreed_resume_point(over, Recorder())


def test_a_reference_that_one_host_lacks_is_computed_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, stored = make_spec(tmp_path).model_copy(update={"hosts": 2}), torch.zeros(1, 2)
    alone(monkeypatch)
    assert agreement.if_all_have(stored, spec) is stored
    monkeypatch.setattr(agreement, "of_all", lambda own: [own, False])
    assert agreement.if_all_have(stored, spec) is None
    assert agreement.if_all_have(stored, spec.model_copy(update={"hosts": 1})) is stored


def test_an_address_is_the_one_on_the_way() -> None:
    assert address_toward("127.0.0.1") == "127.0.0.1"
    assert address_toward("no-such-host.invalid") == "127.0.0.1"
    settings = TrainerSettings(address="10.1.2.3", port=29500)
    gpus, offered = offer(settings, "postgresql+psycopg://u@127.0.0.1:5432/test")
    assert (offered["address"], offered["port"], offered["processes"]) == ("10.1.2.3", 29500, 1)
    assert gpus == (0 if offered["on_cpu"] else 1)
    assert offer(TrainerSettings(), "sqlite:////tmp/x.db")[1]["address"] == "127.0.0.1"
    own = TrainerSettings(address="10.9.9.9")
    assert meeting(offered, own, 3, 2).own_address == "10.9.9.9"
    first = meeting(offered, own, 3, 0)
    assert (first.own_address, first.hosts, first.rank) == ("10.1.2.3", 3, 0)


def test_what_the_hosts_launch() -> None:
    sharded = processes_here(config_file("fsdp-cpu"))
    assert processes_here(config_file("ddp")) == {"processes": 2, "on_cpu": False, "sharding": None}
    about = {"hosts": 3, "rank": 1, "address": "10.0.0.1", "port": 29500, "own_address": "10.0.0.2"}
    line, environment = command(None, 0, Path("spec.json"), Meeting(**about, **sharded))
    wanted = {"--nnodes=3", "--node_rank=1", "--nproc_per_node=2", "--master_addr=10.0.0.1", "--master_port=29500"}
    assert wanted | {"torch.distributed.run", "--max_restarts=0"} <= set(line)
    assert environment["ERRATA_HOST_ADDRESS"] == "10.0.0.2"
    assert environment["ACCELERATE_USE_CPU"] == "true"
    assert environment[SHARDING_VARIABLE] == '{"reshard_after_forward": true}'
