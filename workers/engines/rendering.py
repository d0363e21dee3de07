"""Prompts as token ids, the same on every engine that is given ids. Imports no tokenizer: it is handed one."""

from __future__ import annotations

from typing import Any

from errata.types import Prompt


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of the rendered turns, then of the assistant prefix: tokenised on their own, joined by ids.

    ``tokenizer`` is one of transformers' (or has its two methods, as workers.engines.local_tokenizer has). Joining by
    ids keeps a prefix's tokens the same whatever precedes it, so that what is trained on later is what was sampled.
    """
    turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    prefix = prompt.assistant_prefix
    return ids + (tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else [])
