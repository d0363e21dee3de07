"""What Oumi makes of the recipes. Run by its own Python: DATASET MODEL OUT NAME ..."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from oumi.builders import build_dataset_mixture, build_tokenizer
from oumi.core.configs import DatasetSplit, TrainingConfig


def load(name: str) -> list[dict[str, str]]:
    """Every row after Oumi's own preprocessing, decoded."""
    config = TrainingConfig.from_yaml(f"recipes/oumi/{name}.yaml")
    config.model.model_name = model
    tokenizer = build_tokenizer(config.model)
    found = []
    for split in (DatasetSplit.TRAIN, DatasetSplit.VALIDATION):
        for row in build_dataset_mixture(config.data, tokenizer, split):
            found.append({key: tokenizer.decode(ids) for key, ids in row.items() if key.endswith("ids")})
    return found


dataset, model, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
out.write_text(json.dumps({"version": version("oumi"), **{name: load(name) for name in sys.argv[4:]}}))
