"""Prompts as token ids, the same on every engine that is given ids.

``prompt_ids`` is the one place where a prompt is rendered; it is handed a tokenizer, transformers' or the one here.
``LocalTokenizer`` reads a model's own tokenizer and chat template in a worker process, with the `tokenizers` library
and Jinja and without transformers. It renders as transformers does (the same sandbox, filters and functions), so that a
server that is given token ids is given the ids that the other engines compute.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from errata.types import Prompt
from workers.engines.base import EngineError

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def rendered_messages(tokenizer: Any, prompt: Prompt) -> str:
    """The messages as the model's chat template writes them, up to where the reply begins; without its prefix."""
    messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of the rendered messages, then of the assistant prefix: tokenised on their own, joined by ids.

    ``tokenizer`` is one of transformers' (or has its two methods, as LocalTokenizer has). Joining by
    ids keeps a prefix's tokens the same whatever precedes it, so that what is trained on later is what was sampled.
    """
    ids: list[int] = tokenizer(rendered_messages(tokenizer, prompt), add_special_tokens=False)["input_ids"]
    prefix = prompt.assistant_prefix
    return ids + (tokenizer(prefix, add_special_tokens=False)["input_ids"] if prefix else [])


class LocalTokenizer:
    """Loads ``tokenizer.json`` and the chat template of a folder or of a hub id at a pinned revision.

    Has the two methods of a transformers tokenizer that ``prompt_ids`` uses. Raises EngineError where a file
    is missing: a model with a sentencepiece file alone has to be converted first.
    """

    def __init__(self, source: str, revision: str | None = None) -> None:
        self._source, self._revision = source, revision
        path = self._file("tokenizer.json")
        if path is None:
            raise EngineError(f"tokenizer {source!r} has no tokenizer.json")
        self._tokenizer = Tokenizer.from_file(str(path))
        # tokenizer.json may carry both from training; transformers ignores them unless asked, and so do we.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config = self._file("tokenizer_config.json")
        self._config: dict[str, Any] = {} if config is None else json.loads(config.read_text("utf-8"))
        # A template is a stranger's code: sandboxed, it reaches no attribute that could run anything.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals.update(raise_exception=_raise, strftime_now=_now)
        self._template = environment.from_string(self._chat_template())

    def apply_chat_template(self, messages: list[dict[str, str]], **values: Any) -> str:
        """The messages as the model's template writes them. Raises EngineError where the template refuses them."""
        try:
            return self._template.render(messages=messages, tools=None, documents=None, **self._special(), **values)
        except TemplateError as error:
            raise EngineError(f"the chat template of {self._source!r} refuses the prompt: {error}") from error

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """The text's token ids."""
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    @property
    def eos_token_id(self) -> int | None:
        """The id of the token that ends a turn, or None where the model names none."""
        token = self._special().get("eos_token")
        found: int | None = None if token is None else self._tokenizer.token_to_id(token)
        return found

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, special tokens included."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def _file(self, name: str) -> Path | None:
        if Path(self._source).is_dir():
            path = Path(self._source) / name
            return path if path.is_file() else None
        try:
            return Path(hf_hub_download(self._source, name, revision=self._revision))
        except EntryNotFoundError:
            return None
        except Exception as error:  # the hub's client raises errors of several libraries
            problem = f"{type(error).__name__}: {str(error)[:200]}"
            raise EngineError(f"tokenizer {self._source!r} could not be loaded: {problem}") from error

    def _chat_template(self) -> str:
        # A file of its own wins over the config's field, as in transformers.
        beside = self._file("chat_template.jinja")
        found = self._config.get("chat_template") if beside is None else beside.read_text("utf-8")
        if isinstance(found, list):  # several by name
            found = next((entry["template"] for entry in found if entry["name"] == "default"), None)
        if not isinstance(found, str):
            raise EngineError(f"tokenizer {self._source!r} has no chat template")
        return found

    def _special(self) -> dict[str, str]:
        tokens = {name: self._config.get(name) for name in _SPECIAL}
        texts = {name: token["content"] if isinstance(token, dict) else token for name, token in tokens.items()}
        return {name: text for name, text in texts.items() if text is not None}


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    """Unlike Jinja's own, escapes nothing for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
