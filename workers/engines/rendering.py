"""Prompts as token ids, the same on every engine that is given ids.

``prompt_ids`` is the one place where a prompt is rendered; it is handed a tokenizer, transformers' or the one here.
``LocalTokenizer`` reads a model's own tokenizer and chat template in a worker process, with the `tokenizers` library
and Jinja and without transformers. It renders as transformers does (the same sandbox, filters and functions), so that a
server that is given token ids is given the ids that the other engines compute.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from jinja2 import TemplateError
from tokenizers import AddedToken, Tokenizer

from errata.thoughts import THOUGHTS
from errata.types import Message, Prompt
from workers.engines.base import EngineError, PromptRefused
from workers.engines.joints import ids_of, opening_ids
from workers.engines.templates import template_environment


def rendered_messages(tokenizer: Any, prompt: Prompt, *, opened: bool | None = None) -> str:
    """The messages as the model's chat template writes them, up to where the reply begins; without its prefix.

    A system prompt opens the first user turn where the template refuses that role or leaves it out. A thought that the
    template opens is closed where the reply is ``opened`` (by default: where the prompt has a prefix): the reply is no
    thought. Raises PromptRefused where there is no template, or it refuses the turns.
    """
    try:
        rendered = _rendered_turns(tokenizer, prompt.messages)
    except TemplateError as error:
        raise PromptRefused(f"the model's chat template refuses these turns: {error}") from error
    prefix = prompt.assistant_prefix
    if not (bool(prefix) if opened is None else opened):
        return rendered
    for opening, closing in THOUGHTS:
        if rendered.rstrip().endswith(opening) and closing not in prefix:
            return f"{rendered.rstrip()}\n\n{closing}\n\n"
    return rendered


def _rendered_turns(tokenizer: Any, turns: Sequence[Message]) -> str:
    if not tokenizer.chat_template:
        raise PromptRefused("the model's tokenizer has no chat template, so it takes no turns")

    def rendered(messages: Sequence[Message]) -> str:
        asked = [{"role": m.role, "content": m.content} for m in messages]
        return str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))

    if turns[0].role != "system":
        return rendered(turns)
    try:
        found = rendered(turns)
    except (EngineError, TemplateError):
        found = ""
    return found if turns[0].content.strip() in found else rendered(folded(turns))


def folded(turns: Sequence[Message]) -> tuple[Message, ...]:
    """The turns without a system prompt of their own: it opens the first user turn."""
    if len(turns) < 2 or turns[0].role != "system":
        return tuple(turns)
    first = Message(turns[1].role, f"{turns[0].content.strip()}\n\n{turns[1].content}")
    return (first, *turns[2:])


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of the rendered messages, then of the assistant prefix: tokenised on their own, joined by ids.

    ``tokenizer`` is one of transformers' (or has its two methods, as LocalTokenizer has). Joining by
    ids keeps a prefix's tokens the same whatever precedes it, so that what is trained on later is what was sampled.
    Spaces that a prefix ends in may be left to the model (workers.engines.joints). A prompt without messages is its
    prefix as it stands, begun as the tokenizer begins a text: with the model's first token, where it has one.
    """
    if not prompt.messages:
        return ids_of(tokenizer, prompt.assistant_prefix, begins=True)
    rendered = rendered_messages(tokenizer, prompt)
    return ids_of(tokenizer, rendered) + opening_ids(tokenizer, rendered, prompt.assistant_prefix)


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
        self._config = self._json("tokenizer_config.json")
        # As transformers: an old folder without this table has its tokens in two files of their own.
        if "added_tokens_decoder" not in self._config:
            self._config |= self._json("special_tokens_map.json")
        self._tokenizer.add_tokens(self._missing_tokens())
        self.chat_template = self._chat_template()
        self._template = None if self.chat_template is None else template_environment().from_string(self.chat_template)

    def apply_chat_template(self, messages: list[dict[str, str]], **values: Any) -> str:
        """The messages as the model's template writes them. Raises PromptRefused where there is none, or it refuses."""
        if self._template is None:
            raise PromptRefused(f"tokenizer {self._source!r} has no chat template")
        try:
            return self._template.render(messages=messages, tools=None, documents=None, **self._special(), **values)
        except TemplateError as error:
            raise PromptRefused(f"the chat template of {self._source!r} refuses the prompt: {error}") from error

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        """The text's token ids."""
        return {"input_ids": self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids}

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The tokenizer of the `tokenizers` library, as transformers names it."""
        return self._tokenizer

    @property
    def eos_token_id(self) -> int | None:
        """The id of the token that ends a turn, or None where the model names none."""
        token = self._special().get("eos_token")
        found: int | None = None if token is None else self._tokenizer.token_to_id(token)
        return found

    def decode(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """The text of token ids."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        return text

    def _missing_tokens(self) -> list[AddedToken]:
        """Tokens that the other files name and tokenizer.json lacks, in the order of their ids."""
        known = {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}
        special = {text: AddedToken(text, special=True, normalized=False) for text in self._special().values()}
        table = {int(at): _added(token) for at, token in (self._config.get("added_tokens_decoder") or {}).items()}
        if not table:
            legacy = {at: text for text, at in self._json("added_tokens.json").items()}
            table = {at: special.get(text) or AddedToken(text, normalized=True) for at, text in legacy.items()}
        found = [token for _, token in sorted(table.items(), key=lambda item: item[0])]
        listed = {token.content for token in found}
        found += [token for text, token in special.items() if text not in listed]
        return [token for token in found if token.content not in known]

    def _json(self, name: str) -> dict[str, Any]:
        path = self._file(name)
        found: dict[str, Any] = {} if path is None else json.loads(path.read_text("utf-8"))
        return found

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

    def _chat_template(self) -> str | None:
        # A file of its own wins over the config's field, as in transformers.
        beside = self._file("chat_template.jinja")
        found = self._config.get("chat_template") if beside is None else beside.read_text("utf-8")
        if isinstance(found, list):  # several by name
            found = next((entry["template"] for entry in found if entry["name"] == "default"), None)
        return found if isinstance(found, str) else None

    def _special(self) -> dict[str, str]:
        """The texts of the special tokens by name, a model's own (``image_token``) among them."""
        more = self._config.get("extra_special_tokens")
        named = {**self._config, **(more if isinstance(more, dict) else {})}
        texts = {
            name: token.get("content") if isinstance(token, dict) else token
            for name, token in named.items()
            if name.endswith("_token")
        }
        return {name: text for name, text in texts.items() if isinstance(text, str)}


def _added(token: dict[str, Any]) -> AddedToken:
    flags = {
        name: token[name] for name in ("single_word", "lstrip", "rstrip", "normalized", "special") if name in token
    }
    return AddedToken(token["content"], **flags)
