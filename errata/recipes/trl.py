"""TRL: shell scripts with the command line of each trainer that can train on the dataset."""

from __future__ import annotations

from errata.recipes.base import FOLDER, KTO, SFT, Tables, TextRecipe, first_of, splits_of

_SCRIPT = """#!/bin/sh
# MODEL=FOLDER-OR-HUB-ID {use} [more flags of `trl {command}`]
# {mapping}
set -eu
dataset=$(cd "$(dirname "$0")/../.." && pwd)
exec trl {command} \\
  --model_name_or_path "${{MODEL:?set MODEL to the model to train}}" \\
  --dataset_name "$dataset" --dataset_config {name} --dataset_train_split train \\
  {held_out} \\
  --max_length 2048 --per_device_train_batch_size {batch} --gradient_accumulation_steps {steps} \\
  --learning_rate {rate} --num_train_epochs 1 --output_dir trained-{command} "$@"
"""
_HELD_OUT = "--dataset_test_split test --eval_strategy epoch"
#: KTO compares the examples of a batch with each other: it needs more than one.
_COMMANDS = (
    ("dpo", ("whole_conversational", "whole"), "5e-7", 1, "prompt, chosen and rejected as they are"),
    ("kto", KTO, "5e-7", 4, "prompt, completion and label as they are"),
    ("sft", SFT, "1e-5", 1, "prompt and completion as they are; the loss is on the completion"),
)


def trl(tables: Tables) -> list[TextRecipe]:
    """One script per trainer that has a table."""
    found = []
    for command, names, rate, batch, mapping in _COMMANDS:
        if (name := first_of(tables, names)) is None:
            continue
        path = f"{FOLDER}/trl/{command}.sh"
        use = f"sh {path}"
        held_out = _HELD_OUT if "test" in splits_of(tables, name) else "--eval_strategy no"
        told = {"use": use, "command": command, "name": name, "held_out": held_out, "mapping": mapping}
        text = _SCRIPT.format(**told, rate=rate, batch=batch, steps=16 // batch)
        found.append(TextRecipe(path, f"TRL: trl {command}", f"MODEL=… {use}", mapping, text))
    return found
