"""A dataset frozen from real GSM8K solutions, a small model to load it for, and the consumers' own environments."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from api.app import create_app
from api.settings import ApiSettings
from errata.output_config import DatasetConfig
from models.base import Base
from models.files import FileStore
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import DEFAULT_WORKSPACE, Workspace
from tests.consumers.environments import CONSUMERS, interpreter
from tests.lacking import lacking
from tests.workers.engines.small_tokenizers import write_folder
from tests.workers.injection_jobs import Deaf, Posted, post_job, run_shards
from workers.dispatch import plan_dataset
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.runner import Services
from workers.settings import WorkerSettings
from workers.stages import STAGES

PROBLEMS = 60
SHAPES = ["whole_conversational", "whole", "whole_kto", "whole_kto_conversational", "whole_openai", "sft"]
SHAPES += ["sft_conversational", "process_reward"]
END = "<|im_end|>"
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CHECKS = Path(__file__).parent / "checks"
_SECONDS = 900  # a loader imports torch and more, on a machine that may be busy


def real_problems(data: Path, count: int) -> list[Posted]:
    """Problems of GSM8K with the solutions that four models wrote."""
    found = []
    for line in (data / "gsm8k" / "model-solutions-400.jsonl").read_text(encoding="utf-8").splitlines()[:count]:
        row = json.loads(line)
        written = [value["solution"] for value in row.values() if isinstance(value, dict)]
        found.append(Posted(row["question"], row["ground_truth"].rpartition("A: ")[2].strip(), written))
    return found


def unpacked_task(home: Path, problems: list[Posted]) -> str:
    """Post problems, and unpack what the service gives for lm-eval into ``home``; answers the task's name."""
    database = Database(f"sqlite:///{home / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    with database.begin() as session:
        session.add(Workspace(id=DEFAULT_WORKSPACE, name="default"))
    store = StoreSettings(ERRATA_HOME=home)
    with TestClient(create_app(database, store, Deaf(), ApiSettings(auth="none"))) as client:
        rows = [{"question": problem.question, "gold_answer": problem.gold} for problem in problems]
        made = client.post("/v1/problem-sets", json={"name": "GSM8K", "problems": rows})
        assert made.status_code == 201, made.text
        answer = client.get(f"/v1/problem-sets/{made.json()['id']}/lm-eval?max_tokens=8")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(home)
    database.dispose()
    return "errata_gsm8k"


def freeze_real(home: Path, data: Path, shapes: list[str]) -> Path:
    """The folder of a dataset of these shapes, made by the preset ``rules`` from the real solutions."""
    database = Database(f"sqlite:///{home / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    store, engines = StoreSettings(ERRATA_HOME=home), EnginePool()
    with JudgePool(1) as judge:
        services = Services(database, store, WorkerSettings(), Deaf(), engines, judge, dict(STAGES))
        post_job(services, "rules", real_problems(data, PROBLEMS))
        run_shards(services)
        config = DatasetConfig.model_validate({"jobs": ["inj"], "shapes": shapes, "split": {"test": 0.2}})
        with database.begin() as session:
            values = {"name": "GSM8K", "config": config.model_dump(mode="json")}
            dataset = Dataset(id="ds", workspace_id=DEFAULT_WORKSPACE, **values)
            session.add(dataset)
            session.flush()
            plan_dataset(session, dataset)
        run_shards(services)
    engines.close()
    with database.read() as session:
        dataset = session.scalars(select(Dataset)).one()
        assert dataset.state == JobState.SUCCEEDED, dataset.error
        folder = FileStore(store.files).local_path(str(dataset.folder))
    database.dispose()
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """The folder of a frozen dataset with every shape that has a recipe."""
    return freeze_real(tmp_path_factory.mktemp("home"), shared_data, SHAPES)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random model with a tokenizer of bytes and the chat template of ChatML."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", END, "<|endoftext|>"])
    special = {"eos_token": END, "pad_token": "<|endoftext|>"}
    write_folder(folder, tokenizer, chat_template=_TEMPLATE, model_max_length=8192, **special)
    ids = {"eos_token_id": tokenizer.token_to_id(END), "pad_token_id": tokenizer.token_to_id("<|endoftext|>")}
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    shape = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=8192, **small, **ids)
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(dataset: Path, model: Path, tmp_path: Path) -> Check:
    """Runs a consumer's check in its own environment, in the dataset's folder; answers what the consumer loaded."""

    def run(consumer: str, *arguments: str, folder: Path = dataset) -> dict[str, Any]:
        python = interpreter(consumer)
        if python is None:
            lacking(f"{consumer}: no environment; `make test-consumers` makes it where the package index has it")
        out = tmp_path / "out.json"
        command = [str(python), str(_CHECKS / f"load_{consumer}.py"), str(folder), str(model), str(out), *arguments]
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "AXOLOTL_DO_NOT_TRACK": "1"}
        quiet |= {"DO_NOT_TRACK": "1", "WANDB_MODE": "disabled", "CUDA_VISIBLE_DEVICES": "", "TQDM_DISABLE": "1"}
        env = {**os.environ, **quiet, "PYTHONPATH": "", "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=_SECONDS)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        assert found["version"] == CONSUMERS[consumer].version
        return found

    return run
