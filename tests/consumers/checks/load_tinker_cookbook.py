"""What Tinker Cookbook makes of its files. Run by its own Python: DATASET MODEL OUT."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from tinker_cookbook.preference.dpo_datasets import DPODatasetBuilderFromComparisons
from tinker_cookbook.preference.preference_datasets import ComparisonBuilderFromJsonl
from tinker_cookbook.supervised.data import FromConversationFileBuilder
from tinker_cookbook.supervised.types import ChatDatasetBuilderCommonConfig
from transformers import AutoTokenizer


def decoded(datums: list) -> list[dict[str, str]]:
    """Text, and the part of it that has weight."""
    found = []
    for datum in datums:
        inputs = datum.model_input.to_ints()
        targets, weights = (datum.loss_fn_inputs[name].to_torch().tolist() for name in ("target_tokens", "weights"))
        trained = [token for token, weight in zip(targets, weights, strict=True) if weight]
        found.append({"text": tokenizer.decode([*inputs, targets[-1]]), "trained": tokenizer.decode(trained)})
    return found


dataset, model, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
tokenizer = AutoTokenizer.from_pretrained(model)
common = ChatDatasetBuilderCommonConfig(
    model_name_for_tokenizer=model, renderer_name="qwen3_instruct", max_length=4096, batch_size=1
)
files = {f"{split}_path": f"recipes/tinker/{split}.jsonl" for split in ("train", "test")}
comparisons = ComparisonBuilderFromJsonl(**files)
train, test = DPODatasetBuilderFromComparisons(common_config=common, comparison_builder=comparisons)()
pairs = [train.get_batch(at) for at in range(len(train))]
held_out = test.get_batch(0)
pairs += [held_out[at : at + 2] for at in range(0, len(held_out), 2)]
sides = [decoded(pair) for pair in pairs]
chat, _ = FromConversationFileBuilder(file_path="recipes/messages/train.jsonl", common_config=common)()
sft = [row for at in range(len(chat)) for row in decoded(chat.get_batch(at))]
out.write_text(json.dumps({"version": version("tinker_cookbook"), "dpo": sides, "sft": sft}))
