"""What a chat template is given beside the turns: a model's own variables, and one date that is the same tomorrow.

Templates that print today's date (``strftime_now``, or ``date_string`` as Llama 3's) would give every prompt other ids
each day: no cache would hold, and no text could be made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

PINNED_DATE = "2024-07-26"
"""The date that Llama 3.1's own template prints where it is given none."""


def template_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The variables by name, of a registry entry's settings ``template_kwargs`` and ``date``."""
    day = date.fromisoformat(config.get("date") or PINNED_DATE)
    # A variable shadows the function of this name that transformers gives to templates.
    pinned = {"date_string": day.strftime("%d %b %Y"), "strftime_now": day.strftime}
    return {**pinned, **(config.get("template_kwargs") or {})}


def sent_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of these, what can travel to a server that renders the turns itself: what the entry names."""
    named = dict(config.get("template_kwargs") or {})
    if config.get("date"):
        named.setdefault("date_string", template_values({"date": config["date"]})["date_string"])
    return named


def with_template_values(tokenizer: Any, config: Mapping[str, Any]) -> Any:
    """The tokenizer, whose ``apply_chat_template`` gives every template these variables from now on."""
    own = set(config.get("template_kwargs") or {})
    text = str(getattr(tokenizer, "chat_template", None) or "")
    # Only what a template names: some tokenizers refuse variables that they do not know.
    values = {name: value for name, value in template_values(config).items() if name in own or name in text}
    if values:
        tokenizer.apply_chat_template = partial(tokenizer.apply_chat_template, **values)
    return tokenizer
