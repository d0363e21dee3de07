"""What LLaMA-Factory makes of dataset_info.json. Run by its own Python: DATASET MODEL OUT STAGE:DATASET ..."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments, ModelArguments
from transformers import AutoTokenizer, Seq2SeqTrainingArguments


def load(stage: str, name: str, template: str) -> list[dict[str, str]]:
    """Every row after LLaMA-Factory's own preprocessing, decoded; ``*_labels``: what is trained on."""
    cache = f"{out.parent}/cache-{name}"
    data = DataArguments(dataset=name, dataset_dir="recipes/llamafactory", template=template, overwrite_cache=True)
    arguments = Seq2SeqTrainingArguments(output_dir=f"{out.parent}/trained", use_cpu=True, report_to=[])
    own = ModelArguments(model_name_or_path=model, cache_dir=cache)
    tokenizer = AutoTokenizer.from_pretrained(model)
    shape = get_template_and_fix_tokenizer(tokenizer, data)
    rows = get_dataset(shape, own, data, arguments, stage, tokenizer)["train_dataset"]

    def text(ids: list[int]) -> str:
        return tokenizer.decode([each for each in ids if each != -100])

    return [{key: text(ids) for key, ids in row.items() if key.endswith(("input_ids", "labels"))} for row in rows]


dataset, model, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
found = {name: load(stage, name, template) for stage, name, template in (each.split(":") for each in sys.argv[4:])}
out.write_text(json.dumps({"version": version("llamafactory"), **found}))
