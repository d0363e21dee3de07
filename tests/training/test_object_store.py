"""Training where the file store is an object store: the dataset is fetched and checked, the result is stored there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load

from models.files import FileStore
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from tests.training.conftest import read_run, wait_for
from tests.training.test_supervision import running
from workers.training.config import resolve
from workers.training.protocol import CannotTrain, RunSpec
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.exchange import fetch_dataset
from workers.training.supervise.registry import preview_spec
from workers.training.supervise.settings import TrainerSettings

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    url = f"memory://errata-{secrets.token_hex(6)}"
    return StoreSettings(ERRATA_HOME=tmp_path / "home", ERRATA_FILES_URL=url)  # type: ignore[call-arg]


@pytest.fixture
def stored(database: Database, store: StoreSettings, make_run: Callable[..., str], dataset: Path) -> FileStore:
    """The file store with the dataset of the runs in it."""
    files = FileStore(store.files)
    files.publish(dataset, "datasets/ds_1")
    with database.begin() as session:
        session.get_one(Dataset, "ds_1").folder = "datasets/ds_1"
    return files


def spec_of(database: Database, store: StoreSettings) -> RunSpec:
    with database.read() as session:
        return preview_spec(session, store, "ds_1", "model_base", resolve("errata"))


@pytest.mark.slow
def test_a_run_trains_on_a_dataset_in_an_object_store(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str], stored: FileStore
) -> None:
    run_id = make_run(max_steps=2, epochs=1)
    with running(TrainerDaemon(database, store, settings)):
        wait_for(lambda: read_run(database, run_id).state in ("succeeded", "failed"))
    run = read_run(database, run_id)
    assert (run.state, run.error) == ("succeeded", None)
    manifest = json.loads(stored.read_bytes(f"models/{run_id}/manifest.json"))
    names = {entry["path"] for entry in manifest["files"]}
    assert names < set(stored.names(f"models/{run_id}"))
    assert load(stored.read_bytes(f"models/{run_id}/model.safetensors"))


def test_a_fetched_dataset_is_used_again_and_mended(
    database: Database, store: StoreSettings, stored: FileStore, dataset: Path
) -> None:
    spec = spec_of(database, store)
    fetch_dataset(store, spec)
    table = spec.dataset_folder / "steps_and_full/train.jsonl"
    stamp = table.stat().st_mtime_ns
    fetch_dataset(store, spec)
    assert table.stat().st_mtime_ns == stamp, "it was there: nothing was copied again"
    table.write_bytes(b"torn")
    fetch_dataset(store, spec)
    assert table.read_bytes() == (dataset / "steps_and_full/train.jsonl").read_bytes()
    assert [path.name for path in spec.dataset_folder.parent.iterdir()] == ["ds_1"], "nothing half done is left"


def test_a_dataset_that_is_not_what_its_manifest_says_is_refused(
    database: Database, store: StoreSettings, stored: FileStore, dataset: Path
) -> None:
    spec = spec_of(database, store)
    stored._fs.pipe_file(
        stored._name("datasets/ds_1/sft/train.jsonl"), b"x" * (dataset / "sft/train.jsonl").stat().st_size
    )
    with pytest.raises(CannotTrain, match=r"sft/train\.jsonl differs from the dataset's manifest"):
        fetch_dataset(store, spec)
    assert not spec.dataset_folder.exists()
    stored.remove("datasets/ds_1")
    with pytest.raises(CannotTrain, match="no longer in the file store"):
        fetch_dataset(store, spec)
