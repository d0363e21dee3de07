"""A tiny randomly initialised model with a tokenizer, and a small dataset folder in the frozen layout."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models.base import db_now, new_id
from models.events import after
from models.outputs import Dataset, Metric, TrainingRun
from models.session import Database
from models.settings import StoreSettings
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, Workspace
from workers.training.config import resolve
from workers.training.supervise.settings import TrainerSettings

TEMPLATE = (
    "{%- for m in messages -%}{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
PREAMBLE = "Let's think step by step.\n"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and the special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>"]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(special + alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=TEMPLATE,
    )


def make_model(folder: Path, seed: int = 0, *, tied: bool = True, width: int = 16) -> Path:
    """Save a tiny Llama and its tokenizer."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_rows(problems: int = 8, steps: int = 3, seed: int = 0) -> list[dict[str, Any]]:
    """Step and full pairs of made-up problems, as the freezer writes them."""
    rng, rows = random.Random(seed), []
    for p in range(problems):
        numbers = [rng.randrange(2, 9) for _ in range(steps + 1)]
        question = f"Add {numbers}."
        texts, total = [], numbers[0]
        for k, n in enumerate(numbers[1:]):
            texts.append(f"Step {k + 1}: {total} + {n} = {total + n}\n")
            total += n
        end = f"The answer is \\boxed{{{total}}}."
        common = {"question": question, "problem_id": f"prob_{p}", "domain": "math", "source": "rules", "evidence": {}}
        for k, text in enumerate(texts):
            wrong = text.replace("=", "= 1", 1)
            rows.append(
                {
                    **common,
                    "type": "step",
                    "pair_id": f"pair_{p}_{k}",
                    "prefix": PREAMBLE + "".join(texts[:k]),
                    "chosen": text,
                    "rejected": wrong,
                    "step_index": k,
                    "error_kind": ("calculation", "operator")[k % 2],
                }
            )
        full = PREAMBLE + "".join(texts) + end
        rows.append(
            {
                **common,
                "type": "full",
                "pair_id": f"pair_{p}_full",
                "prefix": "",
                "chosen": full,
                "rejected": PREAMBLE + f"Step 1: {total + 1}.\nThe answer is \\boxed{{{total + 1}}}.",
                "step_index": None,
                "error_kind": None,
            }
        )
    return rows


def make_dataset(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A dataset folder with both configurations and a manifest."""
    samples = [
        {"question": r["question"], "completion": r["chosen"], "problem_id": r["problem_id"]}
        for r in rows
        if r["type"] == "full"
    ]
    files = []
    for name, content in (("steps_and_full", rows), ("sft", samples)):
        path = folder / name / "train.jsonl"
        path.parent.mkdir(parents=True)
        data = "".join(json.dumps(row) + "\n" for row in content).encode()
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files.append({"path": f"{name}/train.jsonl", "rows": len(content), "bytes": len(data), "sha256": digest})
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    return folder


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    """Folder of a tiny model."""
    return make_model(tmp_path / "base")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Folder of a small dataset."""
    return make_dataset(tmp_path / "dataset", make_rows())


@pytest.fixture
def store(tmp_path: Path) -> StoreSettings:
    """Files in a folder of the test's own."""
    return StoreSettings(ERRATA_HOME=tmp_path / "home")


@pytest.fixture
def settings() -> TrainerSettings:
    """Quick polls; leases as long as a slow machine needs."""
    return TrainerSettings(heartbeat_seconds=1.0, lease_seconds=60.0, poll_seconds=0.1, backoff_seconds=0.0, threads=1)


CONFIG = {"learning_rate": 1e-3, "beta": 0.3, "batch_size": 8, "micro_batch": 4, "checkpoint_every": 2}


@pytest.fixture
def make_run(database: Database, base_model: Path, dataset: Path) -> Callable[..., str]:
    """Adds a queued training run with ``overrides`` of its configuration; the answer is its id."""
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
        session.flush()
        common = {"workspace_id": DEFAULT_WORKSPACE, "config": {}}
        session.add(Dataset(**common, id="ds_1", name="pairs", folder=str(dataset), state="succeeded", sha256="0" * 64))
        session.add(
            LanguageModel(
                id="model_base",
                workspace_id=DEFAULT_WORKSPACE,
                name="tiny",
                engine="transformers",
                config={"path": str(base_model), "dtype": "float32", "max_context": 512},
            )
        )

    ages = itertools.count(-1000)  # a second apart: SQLite's clock gives two runs of one millisecond the same time

    def make(name: str = "tiny-rise", preset: str = "errata", **overrides: Any) -> str:
        run_id = new_id("train")
        config = resolve(preset, {**CONFIG, **overrides}).model_dump(mode="json")
        with database.begin() as session:
            session.add(
                TrainingRun(
                    id=run_id,
                    workspace_id=DEFAULT_WORKSPACE,
                    dataset_id="ds_1",
                    base_model_id="model_base",
                    output_name=name,
                    config=config,
                    created_at=db_now(next(ages)),
                )
            )
        return run_id

    return make


def read_run(database: Database, run_id: str) -> TrainingRun:
    """The run's row as it is now."""
    with database.read() as session:
        return session.get_one(TrainingRun, run_id)


def events(database: Database, run_id: str) -> list[str]:
    """Types of the run's events, in order."""
    with database.read() as session:
        return [event.type for event in after(session, run_id, limit=1000)]


def metrics(database: Database, run_id: str) -> dict[int, dict[str, Any]]:
    """Figures by step."""
    with database.read() as session:
        rows = session.scalars(select(Metric).where(Metric.run_id == run_id).order_by(Metric.step))
        return {row.step: row.values for row in rows}


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Poll until ``condition`` is true and answer its value; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.05)
    return value


@pytest.fixture
def quick(settings: TrainerSettings) -> TrainerSettings:
    """One process on CPU on each host, whatever this machine has."""
    return settings.model_copy(update={"heartbeat_seconds": 0.2, "poll_seconds": 0.05, "gather_seconds": 60.0})
