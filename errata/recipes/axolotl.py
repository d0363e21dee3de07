"""Axolotl: one YAML per kind of training, each with the dataset ``type`` that reads our columns."""

from __future__ import annotations

from typing import Any

import yaml

from errata.recipes.base import FOLDER, KTO, STEPWISE, Tables, TextRecipe, first_of, has_turns, splits_of

_HEAD = (
    "# {use}\n"
    "# Run from the dataset's folder; base_model is yours to set, and so are the settings below `datasets`.\n"
    "# {mapping}\n"
)
_DPO: dict[str, Any] = {"rl": "dpo", "rl_beta": 0.1, "learning_rate": 5e-7}
_KTO: dict[str, Any] = {"rl": "kto", "rl_beta": 0.1, "learning_rate": 5e-7, "remove_unused_columns": False}
_KTO |= {"micro_batch_size": 4, "gradient_accumulation_steps": 4}  # TRL's KTO needs more than one example in a batch
_SFT: dict[str, Any] = {"learning_rate": 1e-5, "train_on_inputs": False}
_PROCESS_REWARD: dict[str, Any] = {
    "model_type": "AutoModelForTokenClassification",
    "num_labels": 2,
    "process_reward_model": True,
    "learning_rate": 1e-5,
}
_COMMON: dict[str, Any] = {
    "sequence_len": 2048,
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 16,
    "num_epochs": 1,
    "optimizer": "adamw_torch",
    "lr_scheduler": "cosine",
    "bf16": "auto",
}
_TEMPLATE = {"chat_template": "tokenizer_default"}


def axolotl(tables: Tables) -> list[TextRecipe]:
    """The configurations that the dataset's tables allow."""
    return [*_preference(tables), *_kto(tables), *_sft(tables), *_process_reward(tables)]


def _preference(tables: Tables) -> list[TextRecipe]:
    name = first_of(tables, ("whole_conversational", "whole"))
    if name is None:
        return []
    if has_turns(name):
        kind = {"type": "chat_template.default", "field_messages": "prompt"}
        kind |= {"field_chosen": "chosen", "field_rejected": "rejected"}
        mapping = "prompt → field_messages; chosen → field_chosen; rejected → field_rejected (its last message)"
        settings = {**_DPO, **_TEMPLATE}
    else:
        fields = {"field_prompt": "prompt", "field_chosen": "chosen", "field_rejected": "rejected"}
        kind = {"type": fields}  # type: ignore[dict-item]
        mapping = "prompt → field_prompt; chosen → field_chosen; rejected → field_rejected; no chat template"
        settings = _DPO
    return [_recipe("dpo", mapping, _datasets(tables, name, kind), settings)]


def _kto(tables: Tables) -> list[TextRecipe]:
    # Axolotl's KTO loaders take the prompt as text: rows of turns are not mapped.
    name = first_of(tables, [name for name in KTO if not has_turns(name)])
    if name is None:
        return []
    fields = {"field_prompt": "prompt", "field_completion": "completion", "field_label": "label"}
    mapping = "prompt → field_prompt; completion → field_completion; label → field_label; no chat template"
    return [_recipe("kto", mapping, _datasets(tables, name, {"type": fields}), _KTO)]


def _sft(tables: Tables) -> list[TextRecipe]:
    name = first_of(tables, ("sft_conversational", "sft"))
    if name is None:
        return []
    if has_turns(name):
        kind: dict[str, Any] = {"type": "chat_template", "field_messages": "messages"}
        files = {split: f"{FOLDER}/messages/{split}.jsonl" for split in splits_of(tables, name)}
        mapping = f"messages of {FOLDER}/messages → field_messages; the assistant's turn is trained on"
        return [_recipe("sft", mapping, _entries(files, kind), {**_SFT, **_TEMPLATE})]
    fields = {"field_instruction": "prompt", "field_output": "completion", "format": "{instruction}"}
    kind = {"type": {**fields, "no_input_format": "{instruction}"}}
    mapping = "prompt → field_instruction; completion → field_output; no chat template"
    return [_recipe("sft", mapping, _datasets(tables, name, kind), _SFT)]


def _process_reward(tables: Tables) -> list[TextRecipe]:
    if first_of(tables, ("process_reward",)) is None:
        return []
    files = {split: f"{STEPWISE}/{split}.jsonl" for split in splits_of(tables, "process_reward")}
    mapping = f"prompt, completions and labels of {STEPWISE}: one label at the end of each step"
    return [_recipe("process_reward", mapping, _entries(files, {"type": "stepwise_supervised"}), _PROCESS_REWARD)]


def _datasets(tables: Tables, name: str, kind: dict[str, Any]) -> dict[str, Any]:
    return _entries({split: f"{name}/{split}.parquet" for split in splits_of(tables, name)}, kind)


def _entries(files: dict[str, str], kind: dict[str, Any]) -> dict[str, Any]:
    """``datasets`` and, with a held-out split, ``test_datasets``. A file of Axolotl's has one split, "train"."""
    found = {"datasets": [{"path": files["train"], "split": "train", **kind}]}
    if "test" in files:
        found["test_datasets"] = [{"path": files["test"], "split": "train", **kind}]
    return found


def _recipe(name: str, mapping: str, datasets: dict[str, Any], settings: dict[str, Any]) -> TextRecipe:
    path = f"{FOLDER}/axolotl/{name}.yaml"
    use = f"axolotl train {path}"
    values = {"base_model": "MODEL", **datasets, **_COMMON, **settings}
    values |= {"dataset_prepared_path": f"prepared/axolotl-{name}", "output_dir": f"trained/axolotl-{name}"}
    text = _HEAD.format(use=use, mapping=mapping) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return TextRecipe(path, f"Axolotl: {name}", use, mapping, text)
