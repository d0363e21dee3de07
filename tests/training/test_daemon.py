"""The daemon end to end on both databases: a dataset folder and a base model in, a registered model out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.folders import verify
from models.outputs import Checkpoint
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.training.conftest import events, metrics, read_run
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.settings import TrainerSettings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "database_url",
    [pytest.param("sqlite", marks=pytest.mark.long), pytest.param("postgres", marks=pytest.mark.services)],
    indirect=True,
)
def test_dataset_and_base_model_in_trained_model_out(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run(keep=1)
    assert TrainerDaemon(database, store, settings).run_once(threading.Event())
    run = read_run(database, run_id)
    assert (run.state, run.error) == ("succeeded", None)
    assert (run.step, run.total_steps, run.worker) == (4, 4, None)
    assert sorted(metrics(database, run_id)) == [1, 2, 3, 4]
    assert metrics(database, run_id)[4]["loss"] < metrics(database, run_id)[1]["loss"]
    with database.read() as session:
        model = session.get_one(LanguageModel, run.output_model_id)
        ready = session.scalars(select(Checkpoint.step).where(Checkpoint.state == "ready")).all()
    assert (model.name, model.engine, model.base_model_id) == ("tiny-rise", "transformers", "model_base")
    assert model.training_run_id == run_id
    assert model.config["max_context"] == 512
    assert list(ready) == [4]
    folder = Path(model.config["path"])
    verify(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert run_id in (folder / "README.md").read_text()
    happened = events(database, run_id)
    assert happened[0] == "training.claimed"
    assert happened[-1] == "training.succeeded"
    assert "training.checkpoint" in happened
    # A control, and a second model of one name: the process that trains takes longest to start, so it is done here.
    control = make_run(preset="sft")
    assert TrainerDaemon(database, store, settings).run_once(threading.Event())
    assert read_run(database, control).state == "succeeded"
    with database.read() as session:
        assert set(session.scalars(select(LanguageModel.name))) == {"tiny", "tiny-rise", "tiny-rise-2"}


def test_nothing_to_do(database: Database, store: StoreSettings, settings: TrainerSettings) -> None:
    assert not TrainerDaemon(database, store, settings).run_once(threading.Event())


def test_a_base_model_without_weights_is_refused(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    run_id = make_run()
    with database.begin() as session:
        session.get_one(LanguageModel, "model_base").config = {"base_url": "http://127.0.0.1:1/v1"}
    TrainerDaemon(database, store, settings).run_once(threading.Event())
    assert "cannot be trained" in str(read_run(database, run_id).error)
