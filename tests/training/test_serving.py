"""What a trained language model is registered as, and that the entry answers: merged, or as an adapter on its base."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from errata.prompts import solve_prompt
from models.outputs import TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import LanguageModel
from tests.training.conftest import read_run
from workers.engines.base import GenerationRequest
from workers.engines.transformers_engine import TransformersEngine
from workers.training.supervise.daemon import TrainerDaemon
from workers.training.supervise.registry import served_as
from workers.training.supervise.settings import TrainerSettings

BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "transformers": ("transformers", {"path": "/base", "revision": "abc", "dtype": "float32", "max_context": 512}),
    "vllm": ("vllm", {"path": "/base", "revision": "abc", "tensor_parallel": 2, "max_context": 4096}),
    "server": ("openai", {"base_url": "http://vllm:8001/v1", "model": "base", "tokenizer": "/base", "path": "/base"}),
}
SERVED = [
    ("transformers", None, "transformers", {"path": "/out", "dtype": "float32", "max_context": 512}),
    ("transformers", 16, "transformers", {"path": "/out", "dtype": "float32", "max_context": 512}),
    ("vllm", None, "vllm", {"path": "/out", "tensor_parallel": 2, "max_context": 4096}),
    ("vllm", 12, "vllm", {**BASES["vllm"][1], "max_lora_rank": 16, "adapter": "/out"}),
    ("server", None, "transformers", {"path": "/out"}),
    ("server", 16, "openai", {**BASES["server"][1], "model": "train_1", "adapter": "/out"}),
]


@pytest.mark.parametrize(("base", "rank", "engine", "config"), SERVED)
def test_a_result_is_served_where_its_base_is(base: str, rank: int | None, engine: str, config: dict[str, Any]) -> None:
    kind, entry = BASES[base]
    row = LanguageModel(id="lm", workspace_id="ws", name="base", engine=kind, config=entry)
    assert served_as(row, "train_1", "/out", rank) == (engine, config)


def test_a_loaded_adapter_keeps_the_rank_its_base_was_loaded_for() -> None:
    """The same settings but for the adapter: the engine child then adds it to the base it has loaded."""
    entry = {"path": "/base", "max_lora_rank": 64}
    row = LanguageModel(id="lm", workspace_id="ws", name="base", engine="vllm", config=entry)
    assert served_as(row, "train_1", "/out", 16) == ("vllm", {**entry, "adapter": "/out"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgres", marks=[pytest.mark.services, pytest.mark.long])],
    indirect=True,
)
def test_an_adapter_answers_as_its_merged_twin_and_is_no_base(
    database: Database, store: StoreSettings, settings: TrainerSettings, make_run: Callable[..., str]
) -> None:
    lora = {"r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    runs = [make_run(lora={**lora, "merge": merge}, learning_rate=0.1) for merge in (True, False)]
    daemon = TrainerDaemon(database, store, settings)
    for run_id in runs:
        assert daemon.run_once(threading.Event())
        assert (read_run(database, run_id).error, read_run(database, run_id).state) == (None, "succeeded")
    with database.read() as session:
        rows = {row.training_run_id: row for row in session.scalars(select(LanguageModel))}
    request = GenerationRequest(solve_prompt("Add [3, 4]."), max_tokens=24)
    folders = [Path(rows[run_id].config["path"]) for run_id in (*runs, None)]
    assert (folders[1] / "adapter_model.safetensors").is_file()
    assert not (folders[1] / "model.safetensors").exists()
    merged, adapted, base = (_logits({**rows[run_id].config, "device": "cpu"}, request) for run_id in (*runs, None))
    assert torch.allclose(merged, adapted, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(base, adapted, rtol=1e-3, atol=1e-4), "the adapter is in force"
    [[completion]] = TransformersEngine({**rows[runs[1]].config, "device": "cpu"}).generate([request])
    assert completion.completion_tokens > 0
    with database.begin() as session:
        run = session.get_one(TrainingRun, make_run(name="again"))
        run.base_model_id = rows[runs[1]].id
    daemon.run_once(threading.Event())
    assert "is an adapter: merge it" in str(read_run(database, run.id).error)


def _logits(config: dict[str, Any], request: GenerationRequest) -> torch.Tensor:
    """What the loaded model says next, as the engine has loaded it."""
    engine = TransformersEngine(config)
    with torch.inference_mode():
        found: torch.Tensor = engine.model(torch.tensor([engine.prompt_ids(request)])).logits[0, -1]
    return found
