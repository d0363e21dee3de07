"""What a chat template is given beside the turns: a model's own variables, and one date that is the same tomorrow.

Templates that print today's date (``strftime_now``, or ``date_string`` as Llama 3's) would give every prompt other ids
each day: no cache would hold, and no text could be made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

PINNED_DATE = "2024-07-26"
"""The date that Llama 3.1's own template prints where it is given none."""


def template_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The variables by name, of a registry entry's settings ``template_kwargs`` and ``date``."""
    day = date.fromisoformat(config.get("date") or PINNED_DATE)
    # A variable shadows the function of this name that every template has.
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
    if "strftime_now" in values and hasattr(tokenizer, "special_tokens_map"):
        # transformers takes data alone, no function in another one's place: its template is rendered here.
        template = template_environment().from_string(text)
        tokenizer.apply_chat_template = partial(_rendered, template, {**tokenizer.special_tokens_map, **values})
    elif values:
        tokenizer.apply_chat_template = partial(tokenizer.apply_chat_template, **values)
    return tokenizer


def _rendered(template: Any, values: Mapping[str, Any], messages: Any, *, tokenize: bool, **more: Any) -> str:
    if tokenize:
        raise ValueError("this tokenizer renders texts alone: its template prints a date that is pinned")
    return str(template.render(messages=messages, tools=None, documents=None, **{**values, **more}))


class _Generation(Extension):
    """``{% generation %}``: marks what the model writes, for training masks. The text inside is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_environment() -> ImmutableSandboxedEnvironment:
    """The environment in which transformers renders chat templates: its sandbox, filters and functions.

    A template is a stranger's code: sandboxed, it reaches no attribute that could run anything.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_raise, strftime_now=_now)
    return environment


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    """Unlike Jinja's own, escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
