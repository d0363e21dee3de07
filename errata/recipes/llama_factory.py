"""LLaMA-Factory: a ``dataset_info.json`` whose entries name the dataset's own files."""

from __future__ import annotations

import json
from typing import Any

from errata.recipes.base import FOLDER, PREFERENCE, SFT, Tables, TextRecipe, first_of, splits_of

_HOME = f"{FOLDER}/llamafactory"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_PAIR = {"chosen": "chosen", "rejected": "rejected"}
_TURNS = {"formatting": "sharegpt", "tags": _TAGS}


def llama_factory(tables: Tables) -> list[TextRecipe]:
    """Entries for each table that LLaMA-Factory can read as it is, and for the rows made for it; none without any."""
    entries: dict[str, Any] = {}
    if (preference := first_of(tables, PREFERENCE)) is not None:
        columns = {"messages": "messages", **_PAIR}
        entries |= _entries(
            tables, preference, "preference", "preference/{}.jsonl", {"ranking": True, **_TURNS}, columns
        )
    if first_of(tables, ("whole",)):
        entries |= _entries(tables, "whole", "whole", _own("whole"), {"ranking": True}, {"prompt": "prompt", **_PAIR})
    if first_of(tables, ("whole_kto",)):
        columns = {"prompt": "prompt", "response": "completion", "kto_tag": "label"}
        entries |= _entries(tables, "whole_kto", "kto", _own("whole_kto"), {}, columns)
    if (sft := first_of(tables, SFT)) is not None:
        entries |= _entries(tables, sft, "sft", "../messages/{}.jsonl", _TURNS, {"messages": "messages"})
    if not entries:
        return []
    mapping = (
        "errata_preference: messages, chosen, rejected with tags role and content; errata_whole: prompt, chosen,"
        " rejected; errata_kto: prompt, response = completion, kto_tag = label; errata_sft: messages"
    )
    use = f"llamafactory-cli train --stage dpo --dataset_dir {_HOME} --dataset errata_preference …"
    text = json.dumps(entries, indent=2) + "\n"
    return [TextRecipe(f"{_HOME}/dataset_info.json", "LLaMA-Factory: dataset_info.json", use, mapping, text)]


def _own(name: str) -> str:
    return f"../../{name}/{{}}.parquet"


def _entries(
    tables: Tables, source: str, name: str, file: str, settings: dict[str, Any], columns: dict[str, str]
) -> dict[str, Any]:
    """``errata_NAME`` for the split train, ``errata_NAME_test`` for the held-out one."""
    return {
        f"errata_{name}{'' if split == 'train' else f'_{split}'}": {
            "file_name": file.format(split),
            **settings,
            "columns": columns,
        }
        for split in splits_of(tables, source)
    }
