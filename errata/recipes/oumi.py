"""Oumi: training configurations that read the dataset's files by the names of its registered datasets."""

from __future__ import annotations

from typing import Any

import yaml

from errata.recipes.base import FOLDER, SFT, Tables, TextRecipe, first_of, has_turns, splits_of

#: Registered by Oumi for rows of messages; the file of ``dataset_path`` is read in place of the one it is named after.
_TURNS = "mlabonne/orpo-dpo-mix-40k"


def oumi(tables: Tables) -> list[TextRecipe]:
    """The configurations that the dataset's tables allow."""
    found = []
    if (name := first_of(tables, ("whole_conversational", "whole"))) is not None:
        reader = _TURNS if has_turns(name) else "text_dpo_jsonl"
        template = "the chat template is applied" if has_turns(name) else "no chat template"
        mapping = f"prompt, chosen and rejected as they are; {template}"
        found.append(_recipe("dpo", "TRL_DPO", reader, f"{name}/{{}}.jsonl", splits_of(tables, name), 5e-7, mapping))
    if (name := first_of(tables, SFT)) is not None:
        path, mapping = f"{FOLDER}/messages/{{}}.jsonl", "messages as they are; the chat template is applied"
        found.append(_recipe("sft", "TRL_SFT", "text_sft", path, splits_of(tables, name), 1e-5, mapping))
    return found


def _recipe(
    name: str, trainer: str, reader: str, file: str, splits: tuple[str, ...], rate: float, mapping: str
) -> TextRecipe:
    path = f"{FOLDER}/oumi/{name}.yaml"
    use = f"oumi train -c {path}"
    names = {"train": "train", "test": "validation"}
    data: dict[str, Any] = {
        names[split]: {"datasets": [{"dataset_name": reader, "dataset_path": file.format(split)}]} for split in splits
    }
    training = {
        "trainer_type": trainer,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
        "num_train_epochs": 1,
        "learning_rate": rate,
        "output_dir": f"trained/oumi-{name}",
    }
    values = {"model": {"model_name": "MODEL", "model_max_length": 2048}, "data": data, "training": training}
    head = f"# {use}\n# Run from the dataset's folder; model_name is yours to set.\n# {mapping}\n"
    return TextRecipe(
        path, f"Oumi: {name}", use, mapping, head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    )
