"""Where texts are joined by ids: a reply's opening behind its prompt, and one step behind another.

Two things go wrong at a joint that is cut by text alone. Tokenizers made by SentencePiece put a space before every text
(Llama 2, Mistral), which the solution does not have there. And a text that ends in a space has that space as a token of
its own, where the model would write it as the beginning of its next word.
"""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from errata.types import Prompt
from workers.engines.base import EngineError

_ANCHORS = ("\n", "\x01", "|")  # texts that seldom make one token with what follows them
_REPLY = "reply-7f3a"


def ids_of(tokenizer: Any, text: str, *, begins: bool = False) -> list[int]:
    """The token ids of a text that begins a reply: with the space that some tokenizers put there.

    ``begins``: it is the whole input, before which the tokenizer's own first token stands.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=begins)["input_ids"]
    return ids


def continuation_ids(tokenizer: Any, text: str) -> list[int]:
    """The token ids of a text that stands behind another: they decode to the text, without a space before it."""
    if not text or not prepends_space(tokenizer):
        return ids_of(tokenizer, text)
    for anchor in _ANCHORS:
        before, both = ids_of(tokenizer, anchor), ids_of(tokenizer, anchor + text)
        if both[: len(before)] == before:
            return both[len(before) :]
    return ids_of(tokenizer, text)


def prepends_space(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a space before every text: two texts joined by ids then have one between them."""
    ids = ids_of(tokenizer, "x")
    return "x x" in str(tokenizer.decode(ids + ids))


def held_back(tokenizer: Any, opening: str) -> str:
    """The spaces at the opening's end that the model is left to write, since it writes them with its next word."""
    spaces = opening[len(opening.rstrip(" ")) :]
    if not spaces:
        return ""
    ids = ids_of(tokenizer, opening)
    clean = ids_of(tokenizer, opening + "The")[: len(ids)] == ids
    return "" if clean else spaces


def opening_ids(tokenizer: Any, rendered: str, opening: str) -> list[int]:
    """The ids of a reply's opening behind the rendered turns, without the spaces that are held back."""
    given = opening[: len(opening) - len(held_back(tokenizer, opening))]
    if not given:
        return []
    # Behind a space or a line's end the reply goes on; behind a turn's mark it begins as in the model's own training.
    return continuation_ids(tokenizer, given) if rendered[-1:].isspace() else ids_of(tokenizer, given)


def without_held_back(text: str, spaces: str) -> str:
    """What a model wrote, without the spaces that stand in the opening already."""
    return text.removeprefix(spaces) if spaces else text


def decoded_behind(tokenizer: Any, ids: list[int], *, opened: bool) -> str:
    """The text of generated ids, special tokens left out; ``opened``: behind a reply's opening, so no space is lost."""
    if not opened or not ids:
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    # Alone, a decoder that drops a text's first space would drop one that the model wrote.
    anchor = ids_of(tokenizer, "x")
    before = str(tokenizer.decode(anchor, skip_special_tokens=True))
    return str(tokenizer.decode(anchor + ids, skip_special_tokens=True))[len(before) :]


def end_of_turn(tokenizer: Any) -> int | None:
    """The id with which the chat template ends the model's turn; ``eos_token`` where it writes none that is special.

    They differ in models whose base and chat versions end texts apart (Gemma: ``<end_of_turn>``, not ``<eos>``).
    """
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": _REPLY}]
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=False))
    except (EngineError, TemplateError, ValueError):  # no template, or one that refuses these turns
        rendered = ""
    _, found, behind = rendered.rpartition(_REPLY)
    special = (token for token in (ids_of(tokenizer, behind) if found else ()) if _is_special(tokenizer, token))
    eos: int | None = tokenizer.eos_token_id
    return next(special, eos)


def _is_special(tokenizer: Any, token: int) -> bool:
    # Left out of a decoded text only where it is asked to be; a lone space may be left out either way.
    shown, hidden = (str(tokenizer.decode([token], skip_special_tokens=skip)) for skip in (False, True))
    return bool(shown) and not hidden


def held_back_of(tokenizer: Any, prompt: Prompt) -> str:
    """``held_back`` of a prompt's opening; a prompt without messages has none: its text is taken as it stands."""
    opened = prompt.messages and prompt.assistant_prefix
    return held_back(tokenizer, prompt.assistant_prefix) if opened else ""
