"""One run on two hosts, network namespaces with a trainer each: what one host trains, whatever happens to a host."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from models import migrate, run_leases
from models.base import new_id
from models.outputs import Dataset, Event, TrainingRun
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from tests.ops.hosts import Host, hosts
from tests.ops.own_services import own_services
from tests.processes import ROOT, Running, environment, until
from tests.training.conftest import events, make_dataset, make_rows, metrics, read_run
from tests.training.test_run import assert_equal_bits
from workers.training.config import resolve
from workers.training.supervise.launch import config_file

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
QUICK = {"ERRATA_TRAINER_HEARTBEAT_SECONDS": "1", "ERRATA_TRAINER_LEASE_SECONDS": "15", "ERRATA_STATEMENT_SECONDS": "5",
         "ERRATA_TRAINER_POLL_SECONDS": "0.3", "ERRATA_TRAINER_THREADS": "1", "ERRATA_GPU_TURNS": "off"}  # fmt: skip
MINIATURE = ROOT / "demo" / "model"
CONFIG: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 8, "micro_batch": 4, "checkpoint_every": 5, "epochs": 15}


class Hosts:
    """A database on this machine, and two hosts that reach it over a bridge and share one folder of files."""

    def __init__(self, stack: ExitStack, folder: Path, launch: str) -> None:
        address, self.both = stack.enter_context(hosts(2))
        postgres, _ = stack.enter_context(own_services(folder, address))
        self._stack, self.files, self._launch, self._folder = stack, folder / "files", launch, folder
        url = {"DATABASE_URL": postgres.url.replace("+psycopg", ""), "ERRATA_FILES_URL": str(self.files)}
        self._more = {**QUICK, **url}
        migrate.upgrade(postgres.url)
        self.db = Database(postgres.url)
        stack.callback(self.db.dispose)
        with self.db.begin() as session:
            session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
            session.flush()
            common = {"workspace_id": DEFAULT_WORKSPACE}
            data = str(make_dataset(folder / "dataset", make_rows()))
            about = {"name": "pairs", "config": {}, "folder": data, "state": "succeeded", "sha256": "0" * 64}
            session.add(Dataset(**common, id="ds_1", **about))
            base = {"path": str(MINIATURE), "dtype": "float32", "max_context": 512}
            session.add(LanguageModel(**common, id="model_base", name="tiny", engine="transformers", config=base))

    def run(self, count: int, **overrides: Any) -> str:
        """Queue a run over so many hosts."""
        run_id = new_id("train")
        config = resolve("errata", {**CONFIG, **overrides}).model_dump(mode="json")
        inputs = {"dataset_id": "ds_1", "base_model_id": "model_base", "output_name": f"over-{count}"}
        with self.db.begin() as session:
            session.add(TrainingRun(id=run_id, workspace_id=DEFAULT_WORKSPACE, **inputs, config=config, hosts=count))
        return run_id

    def trainer(self, host: Host | None = None) -> Running:
        """A trainer of one process on a host, or of two on this machine."""
        name = host.name if host else "here"
        own = self._folder / f"{self._launch}-{name}.yaml"
        text = config_file(self._launch).read_text()
        own.write_text(text.replace("num_processes: 2", f"num_processes: {1 if host else 2}"))
        more = {**self._more, "ERRATA_TRAINER_ACCELERATE_CONFIG": str(own)}
        env = environment(self._folder / f"home-{name}", **more)
        return self._stack.enter_context(Running("trainer", env=env, within=host.within if host else ()))

    def state(self, run_id: str) -> str:
        return read_run(self.db, run_id).state

    def weights(self, run_id: str) -> Any:
        return load_file(self.files / "models" / run_id / "model.safetensors")

    def told(self, run_id: str) -> list[tuple[str, dict[str, Any]]]:
        """What happened, for the words of a failed assertion."""
        with self.db.read() as session:
            rows = session.query(Event).filter_by(subject_id=run_id).order_by(Event.id)
            return [(row.type, row.data) for row in rows if row.type != "training.checkpoint"]

    def ended(self, run_id: str, seconds: float = 900) -> None:
        until(lambda: self.state(run_id) in ("succeeded", "failed"), f"the end of {self.told(run_id)}", seconds)
        assert self.state(run_id) == "succeeded", json.dumps(self.told(run_id), indent=1)


@contextmanager
def two(folder: Path, launch: str) -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(stack, folder, launch)


def roles(trainers: list[Running], run: TrainingRun) -> tuple[int, int]:
    """Which of two trainers claimed the run, and which has the other place."""
    leads = next(at for at, trainer in enumerate(trainers) if f":{trainer.child.pid}:" in str(run.worker))
    return leads, 1 - leads


def trained(all_hosts: Hosts, run_id: str, step: int) -> Callable[[], bool]:
    return lambda: read_run(all_hosts.db, run_id).step >= step


def harm(net: Hosts, trainers: list[Running], run_id: str, what: str) -> None:
    """Let one of two hosts be lost amid the run, and come back once that was noticed."""
    begins = len(losses(net, run_id))
    first, other = roles(trainers, read_run(net.db, run_id))
    at = first if what.startswith("first") else other
    if what.endswith("killed"):
        trainers[at].kill_tree()
    else:
        net.both[at].cut()
    until(lambda: len(losses(net, run_id)) > begins, f"the loss to be noticed: {what}", 300)
    if what.endswith("killed"):
        trainers[at] = net.trainer(net.both[at])
    else:
        net.both[at].mend()


def losses(net: Hosts, run_id: str) -> list[str]:
    return [kind for kind in events(net.db, run_id) if kind in ("training.interrupted", "training.failed")]


LORA = {"r": 4, "alpha": 8, "dropout": 0.2}
CASES: list[tuple[str, list[str], dict[str, Any]]] = [
    ("ddp-cpu", ["other killed"], {"lora": LORA}),
    ("fsdp-cpu", ["first killed"], {}),
    ("ddp-cpu", ["other cut off", "first cut off"], {}),
]


@pytest.mark.parametrize(("launch", "harms", "options"), CASES, ids=[f"{case[0]}, {case[1][0]}" for case in CASES])
def test_two_hosts_train_what_one_does(launch: str, harms: list[str], options: dict[str, Any], tmp_path: Path) -> None:
    with two(tmp_path, launch) as net:
        alone = net.run(1, **options)
        here = net.trainer()
        net.ended(alone)
        here.stop()

        together = net.run(2, **options)
        trainers = [net.trainer(host) for host in net.both]
        for number, what in enumerate(harms):
            # Behind a checkpoint that is newer than any before the last harm.
            step = 2 * CONFIG["checkpoint_every"] * (number + 1) + 2
            until(trained(net, together, step), f"step {step}: {net.told(together)}", 900)
            harm(net, trainers, together, what)
        net.ended(together)

        run, kinds = read_run(net.db, together), events(net.db, together)
        assert kinds.count("training.gathered") == 1 + len(harms)
        assert kinds.count("training.resumed") == len(harms), "from a checkpoint, not anew"
        assert kinds.count("training.interrupted") == len(harms), "a host that is gone is no failure of the run"
        assert metrics(net.db, together) == metrics(net.db, alone)
        assert len(metrics(net.db, alone)) == run.total_steps
        assert_equal_bits(net.weights(together), net.weights(alone))


def test_a_cancelled_run_ends_on_both_hosts(tmp_path: Path) -> None:
    with two(tmp_path, "ddp-cpu") as net:
        run_id = net.run(2, epochs=1000)
        trainers = [net.trainer(net.both[0])]
        waits = {"phase": "hosts", "done": 1, "total": 2}
        until(lambda: read_run(net.db, run_id).doing == waits, "one host to wait for the other", 300)
        trainers.append(net.trainer(net.both[1]))
        until(trained(net, run_id, 3), f"some steps: {trainers[0].text} {trainers[1].text}", 900)
        trees = [trainer.tree() for trainer in trainers]
        assert all(len(tree) > 2 for tree in trees), "the trainer, torchrun and a process on each host"
        with net.db.begin() as session:
            assert run_leases.request_cancel(session, run_id)
        until(lambda: net.state(run_id) == "cancelled", "the cancellation", 300)
        children = [process for tree in trees for process in tree[1:]]
        until(lambda: not any(map(psutil.Process.is_running, children)), "the end of the processes on both hosts", 120)
        assert not any(trainer.ended for trainer in trainers), "which may train other runs"
        assert "training.checkpoint" in events(net.db, run_id)
