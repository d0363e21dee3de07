"""What Axolotl makes of the recipes. Run by its own Python: DATASET MODEL OUT."""

import json
import sys
from pathlib import Path

import axolotl
from axolotl.cli.config import load_cfg
from axolotl.loaders import load_tokenizer
from axolotl.utils.data import prepare_datasets, prepare_preference_datasets


def config(name: str) -> object:
    """The recipe with the model set, and without the GPU's number formats."""
    path, prepared = f"recipes/axolotl/{name}.yaml", f"{out.parent}/prepared-{name}"
    return load_cfg(path, base_model=model, bf16=False, dataset_prepared_path=prepared, dataset_num_proc=1)


def preference(name: str) -> list[dict[str, object]]:
    """The rows that Axolotl hands to TRL's trainer."""
    cfg = config(name)
    train, test = prepare_preference_datasets(cfg, load_tokenizer(cfg))
    return [*train, *test]


def tokenized(name: str) -> list[dict[str, object]]:
    """Decoded input and the labels' places, per row."""
    cfg = config(name)
    tokenizer = load_tokenizer(cfg)
    train, test, _, _ = prepare_datasets(cfg, tokenizer)
    found = []
    for row in [*train, *test]:
        labels = [(at, label) for at, label in enumerate(row["labels"]) if label != -100]
        trained = tokenizer.decode([label for _, label in labels]) if name == "sft" else labels
        before = [tokenizer.decode(row["input_ids"][: at + 1]) for at, _ in labels] if name != "sft" else []
        found.append({"text": tokenizer.decode(row["input_ids"]), "trained": trained, "before": before})
    return found


dataset, model, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])

if __name__ == "__main__":  # Axolotl prepares rows in children, which import this file again
    recipes = sys.argv[4:]
    found = {name: (preference if name in ("dpo", "kto") else tokenized)(name) for name in recipes}
    out.write_text(json.dumps({"version": axolotl.__version__, **found}, default=str))
