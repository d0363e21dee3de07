"""``python -m demo.random_model FOLDER``: an untrained model of the miniature's shape, with its tokenizer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

MODEL = Path(__file__).resolve().parent / "model"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def build(folder: Path, seed: int = 0) -> None:
    """Write the untrained model to ``folder``. Sets torch's global seed: call it in a process of its own."""
    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(MODEL))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    for name in _TOKENIZER:
        if (MODEL / name).exists():
            shutil.copy(MODEL / name, folder / name)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
