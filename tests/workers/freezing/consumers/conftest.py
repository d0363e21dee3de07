"""A dataset of real GSM8K solutions, made by a job with the preset ``rules`` and frozen in every shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from errata.output_config import DatasetConfig
from errata.shapes import SHAPES
from models import leases
from models.files import FileStore
from models.jobs import Shard
from models.migrate import Base
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import Stage
from models.workspaces import DEFAULT_WORKSPACE
from tests.workers.freezing.conftest import NoEngine, end
from tests.workers.freezing.consumers.tokenizers import TOKENIZERS
from tests.workers.injection_jobs import Deaf, Posted, post_job, run_shards
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services
from workers.settings import WorkerSettings
from workers.stages import STAGES
from workers.stages.base import StageContext
from workers.stages.freeze import freeze

PROBLEMS = 24


@pytest.fixture(scope="session")
def frozen_shapes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and manifest."""
    home = tmp_path_factory.mktemp("gsm8k")
    database, store, engines = (
        Database(f"sqlite:///{home / 'errata.db'}"),
        StoreSettings(ERRATA_HOME=home),
        EnginePool(),
    )
    Base.metadata.create_all(database.engine)
    with JudgePool(1) as judge:
        services = Services(database, store, WorkerSettings(), Deaf(), engines, judge, dict(STAGES))
        post_job(services, "rules", posted(shared_data), shard_size=PROBLEMS)
        run_shards(services)
        config = {"jobs": ["inj"], "split": {"test": 0.1}, "shapes": list(SHAPES)}
        lease = leased(database, config)
        end(database, lease, freeze(StageContext(database, store, lease, NoEngine(), judge, lambda: False)))
    engines.close()
    with database.read() as session:
        dataset = session.get_one(Dataset, lease.owner_id)
    assert dataset.manifest is not None, dataset.error
    yield FileStore(store.files).local_path(str(dataset.folder)), dataset.manifest
    database.dispose()


def posted(shared_data: Path) -> list[Posted]:
    """Problems with a model's right and its wrong solution."""
    found = []
    for line in (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines():
        row = json.loads(line)
        told = [value for value in row.values() if isinstance(value, dict)]
        sides = [sorted(v["solution"] for v in told if v["is_correct"] is right)[:1] for right in (True, False)]
        if all(sides) and len(found) < PROBLEMS:
            gold = row["ground_truth"].rpartition("A: ")[2].strip()
            found.append(Posted(row["question"], gold, [sides[0][0], sides[1][0]]))
    return found


def leased(database: Database, config: dict[str, Any]) -> leases.Lease:
    """A dataset of the job's workspace with its shard, claimed."""
    with database.begin() as session:
        resolved = DatasetConfig.model_validate(config).model_dump(mode="json")
        session.add(Dataset(id="ds", workspace_id=DEFAULT_WORKSPACE, name="gsm8k", config=resolved))
        session.flush()
        session.add(Shard(id="shard_ds", dataset_id="ds", position=0, stage=Stage.FREEZE))
        session.flush()
        lease = leases.claim(session, "shard_ds", "test", 60)
    assert lease is not None
    return lease


def rows_of(folder: Path, shape: str, split: str = "train") -> list[dict[str, Any]]:
    """The rows of one file, read as JSON lines."""
    return [json.loads(line) for line in (folder / shape / f"{split}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="session")
def tokenizers(frozen_shapes: tuple[Path, dict[str, Any]]) -> dict[str, PreTrainedTokenizerFast]:
    """Tokenizers of two families, trained on these texts."""
    rows = rows_of(frozen_shapes[0], "whole")
    texts = [text for row in rows for text in row.values()]
    return {name: train(texts) for name, train in TOKENIZERS.items()}


@pytest.fixture(params=["chatml"])
def tokenizer(
    request: pytest.FixtureRequest, tokenizers: dict[str, PreTrainedTokenizerFast]
) -> PreTrainedTokenizerFast:
    """One of them; a test may name another."""
    return tokenizers[request.param]


@pytest.fixture
def tiny_model(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> str:
    """Folder of a random model for that tokenizer."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=2048,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")
