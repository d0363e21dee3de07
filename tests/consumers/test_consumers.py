"""Every consumer loads, with its own loader, what the freeze wrote for real GSM8K solutions (docs/datasets.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.conftest import END, Check, real_problems, unpacked_task

pytestmark = [pytest.mark.consumers, pytest.mark.timeout(1800)]
Sides = list[tuple[str, str, str]]


def rows(dataset: Path, name: str) -> list[dict[str, Any]]:
    """The rows of both splits, as the freeze wrote them."""
    files = [dataset / name / f"{split}.jsonl" for split in ("train", "test")]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n")[:-1]]


def written(dataset: Path, split: str | None = None) -> Sides:
    """Prompt, chosen and rejected of every pair that is whole."""
    found = rows(dataset, "whole_conversational")
    count = sum(1 for _ in (dataset / "whole_conversational" / "train.jsonl").open())
    taken = found[:count] if split == "train" else found
    return [tuple(row[side][0]["content"] for side in ("prompt", "chosen", "rejected")) for row in taken]  # type: ignore[misc]


def samples(dataset: Path) -> list[tuple[str, str]]:
    """Prompt and completion of every correct sample."""
    return [
        (row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows(dataset, "sft_conversational")
    ]


def agree(loaded: Sides, dataset: Path, split: str | None = None) -> None:
    """What was loaded is what was written: the question in the prompt, both sides whole, each ended once, all rows."""
    assert sorted((c.partition(END)[0].strip(), r.partition(END)[0].strip()) for _, c, r in loaded) == sorted(
        (chosen.strip(), rejected.strip()) for _, chosen, rejected in written(dataset, split)
    )
    asked = {chosen.strip(): prompt for prompt, chosen, _ in written(dataset, split)}
    for prompt, chosen, rejected in loaded:
        assert asked[chosen.partition(END)[0].strip()].strip() in prompt
        assert chosen != rejected
        for side in (chosen, rejected):
            assert side.count(END) == 1
            assert side.partition(END)[2].strip() == ""


def ended(texts: list[str], dataset: Path) -> None:
    """Every text trained on is one of the samples, ended once."""
    assert {text.partition(END)[0].strip() for text in texts} <= {
        completion.strip() for _, completion in samples(dataset)
    }
    assert all(text.count(END) == 1 and text.partition(END)[2].strip() == "" for text in texts)


def test_axolotl(check: Check, dataset: Path) -> None:
    found = check("axolotl", "dpo", "kto", "sft")
    agree([(row["prompt"], row["chosen"], row["rejected"]) for row in found["dpo"]], dataset)
    unpaired = {(row["prompt"], row["completion"], row["label"]) for row in rows(dataset, "whole_kto")}
    assert {(row["prompt"], row["completion"], row["label"]) for row in found["kto"]} == unpaired
    ended([row["trained"] for row in found["sft"]], dataset)
    assert {row["text"].partition("user\n")[2].partition(END)[0] for row in found["sft"]} == {
        p for p, _ in samples(dataset)
    }


def test_axolotl_reads_a_label_at_the_end_of_each_step(check: Check, dataset: Path) -> None:
    found = check("axolotl", "process_reward")["process_reward"]
    expected = {}
    for row in rows(dataset, "process_reward"):
        text = f"{row['prompt'].strip()}\n\n" + "".join(f"{step.rstrip()}\n" for step in row["completions"])
        expected[text] = row
    assert {row["text"] for row in found} == set(expected)
    for row in found:
        steps, labels = expected[row["text"]]["completions"], expected[row["text"]]["labels"]
        assert [label for _, label in row["trained"]] == [int(label) for label in labels]
        for before, step in zip(row["before"], steps, strict=True):
            assert before.endswith(f"{step.rstrip()}\n")


def test_llama_factory(check: Check, dataset: Path) -> None:
    names = ("rm:errata_preference:qwen", "rm:errata_whole:empty", "kto:errata_kto:empty", "sft:errata_sft:qwen")
    found = check("llamafactory", *names)
    loaded = [
        (row["chosen_input_ids"].removesuffix(row["chosen_labels"]), row["chosen_labels"], row["rejected_labels"])
        for row in found["errata_preference"]
    ]
    agree(loaded, dataset, "train")
    ended([row["labels"] for row in found["errata_sft"]], dataset)
    # Its template "empty" ends nothing: what is trained on are the sides themselves.
    sides = {(chosen, rejected) for _, chosen, rejected in written(dataset, "train")}
    assert {(row["chosen_labels"], row["rejected_labels"]) for row in found["errata_whole"]} == sides
    assert {row["labels"] for row in found["errata_kto"]} == {side for pair in sides for side in pair}


def test_tinker(check: Check, dataset: Path) -> None:
    found = check("tinker_cookbook")
    loaded = [
        (chosen["text"].removesuffix(chosen["trained"]), chosen["trained"], rejected["trained"])
        for chosen, rejected in found["dpo"]
    ]
    agree(loaded, dataset)
    ended([row["trained"] for row in found["sft"]], dataset)


def test_oumi(check: Check, dataset: Path) -> None:
    found = check("oumi", "dpo", "sft")
    # Oumi takes the assistant's header into the completion, and appends a second end of sequence behind the template's.
    sides = [
        (row["prompt_ids"], *(_reply(row[f"{side}_ids"].removesuffix(END)) for side in ("chosen", "rejected")))
        for row in found["dpo"]
    ]
    agree(sides, dataset)
    ended([_reply(row["input_ids"]) for row in found["sft"]], dataset)


def test_lm_eval(check: Check, dataset: Path, tmp_path: Path, shared_data: Path) -> None:
    task = unpacked_task(tmp_path, real_problems(shared_data, 5))
    found = check("lm_eval", task, folder=tmp_path)
    assert set(found["results"]) >= {"exact_match,none", "unparsable,none", "timeout,none"}
    assert found["results"]["exact_match,none"] == 0.0  # the model is random
    asked = [(problem.question.strip(), problem.gold) for problem in real_problems(shared_data, 4)]
    assert [(sample["prompt"].partition("\n\nPlease")[0], sample["target"]) for sample in found["samples"]] == asked


@pytest.mark.parametrize("command", ["dpo", "kto", "sft"])
def test_trl_trains_by_its_script(dataset: Path, model: Path, tmp_path: Path, command: str) -> None:
    more = ["--max_steps", "2", "--report_to", "none", "--use_cpu", "--bf16", "False", "--save_strategy", "no"]
    more += ["--gradient_accumulation_steps", "1", "--eval_strategy", "no"]
    bin_folder = str(Path(sys.executable).parent)
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **quiet, "MODEL": str(model), "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    line = ["sh", str(dataset / "recipes" / "trl" / f"{command}.sh"), *more]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / f"trained-{command}" / "model.safetensors").is_file()


def _reply(text: str) -> str:
    return text.rpartition("<|im_start|>assistant\n")[2]
