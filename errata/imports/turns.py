"""Prompts and completions as files hold them: messages of several conventions, one text, HH's dialogues.

A ``RowProblem`` says why a row cannot be used. Its text holds nothing of the row, so that equal complaints of many rows
can be counted as one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from errata.prompts import solve_prompt
from errata.types import Domain, Message

Role = Literal["system", "user", "assistant"]
Turns = tuple[Message, ...]
_ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
}
_HH = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \t]?")
#: What chat templates write around turns: a text that holds one was rendered already.
_TEMPLATE_MARKS = (
    *("<|im_start|>", "[INST]", "<|start_header_id|>", "<start_of_turn>", "<|user|>", "<|User|>", "<｜User｜>"),
    *("<|start_of_role|>", "<|turn>", "[|user|]", "<|start|>user"),
)


class RowProblem(ValueError):
    """Why a row cannot be used."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a completion answers.

    ``messages`` go through the model's chat template; ``text`` is the prompt as one text, and what is trained on where
    there are no messages. With neither, Errata asks ``question`` by its own prompt. ``question`` names the problem in
    every case: rows with one question fall in one split.
    """

    question: str
    messages: Turns | None = None
    text: str | None = None
    domain: Domain | None = None


def turns_of(value: Any, field: str) -> Turns | None:
    """The messages a field holds; None where it is one text. Raises RowProblem.

    Taken: OpenAI's ``role`` and ``content`` (text, or a list of text parts), ShareGPT's ``from`` and ``value``, one
    message instead of a list, and JSON text of these, as tables hold them.
    """
    if isinstance(value, str):
        value = _from_json(value)
        if value is None:
            return None
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, bytes):
        raise RowProblem(f"'{field}' holds bytes that are no UTF-8 text")
    if not isinstance(value, Sequence) or not value:
        raise RowProblem(f"'{field}' is neither a text nor a list of messages")
    return tuple(_message(each, field) for each in value)


def text_of(value: Any, field: str) -> str:
    """A field that must be one text. Raises RowProblem."""
    if value is None:
        raise RowProblem(f"'{field}' is missing")
    if isinstance(value, bytes):
        raise RowProblem(f"'{field}' holds bytes that are no UTF-8 text")
    if not isinstance(value, str):
        raise RowProblem(f"'{field}' is not a text")
    return value


def _from_json(text: str) -> Any:
    """The messages that a table's cell holds as JSON; None for any other text."""
    if not (text.startswith(("[{", "[ {", '{"')) and text.endswith(("]", "}"))):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    messages = value if isinstance(value, list) else [value]
    named = all(isinstance(each, dict) and ({"role", "content"} <= set(each) or "from" in each) for each in messages)
    return messages if messages and named else None


def _message(value: Any, field: str) -> Message:
    if not isinstance(value, Mapping):
        raise RowProblem(f"'{field}' holds a message that is no object")
    role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    if value.get("tool_calls") or value.get("function_call") or role in ("tool", "function", "observation"):
        raise RowProblem(f"'{field}' holds tool calls, which cannot be trained here")
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise RowProblem(f"'{field}' holds a message whose role is not system, user or assistant")
    if isinstance(content, list):
        content = _joined(content, field)
    if not isinstance(content, str):
        raise RowProblem(f"'{field}' holds a message whose content is not a text")
    return Message(_ROLES[role.lower()], content)


def _joined(parts: Sequence[Any], field: str) -> str:
    texts = [
        part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else part for part in parts
    ]
    if not all(isinstance(text, str) for text in texts):
        raise RowProblem(f"'{field}' holds a part that is not text, such as an image")
    return "".join(cast(list[str], texts))


def dialogue(text: str) -> Turns | None:
    """The turns of a text of the form ``\\n\\nHuman: ...\\n\\nAssistant: ...``; None for any other text."""
    marks = list(_HH.finditer(text))
    if not marks or text[: marks[0].start()].strip() or marks[0].group(1) != "Human":
        return None
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    named = zip(marks, ends, strict=True)
    return tuple(
        Message("user" if m.group(1) == "Human" else "assistant", text[m.end() : end].strip()) for m, end in named
    )


def ask_messages(turns: Turns, field: str = "prompt") -> Ask:
    """The prompt that messages are. Raises RowProblem where no answer could follow them."""
    if not turns or turns[-1].role != "user":
        raise RowProblem(f"'{field}' does not end with a user's message")
    if any(turn.role == "system" for turn in turns[1:]):
        raise RowProblem(f"'{field}' holds a system message behind the first message")
    if not any(turn.content.strip() for turn in turns if turn.role == "user"):
        raise RowProblem(f"'{field}' is empty")
    if len(turns) == 1 and (own := own_question(turns[0].content)):
        return Ask(own[0], domain=own[1])
    question = turns[0].content if len(turns) == 1 else "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns)
    return Ask(question, messages=turns)


def ask_text(text: str, system: str | None, how: Literal["auto", "message", "text"]) -> tuple[Ask, str]:
    """The prompt that one text is, and what it holds of the answer already (the steps before, in Errata's own rows).

    Raises RowProblem for an empty one.
    """
    if not text.strip():
        raise RowProblem("'prompt' is empty")
    if system is None and how != "text" and (own := _own_text(text)):
        return own
    rendered = any(mark in text for mark in _TEMPLATE_MARKS)
    if how == "text" or (how == "auto" and rendered):
        return Ask(text, text=text if system is None else f"{system}\n\n{text}"), ""
    turns = (*(() if system is None else (Message("system", system),)), Message("user", text))
    return Ask(text, messages=turns, text=text if system is None else None), ""


def own_question(message: str) -> tuple[str, Domain] | None:
    """Question and domain of a message that is exactly what Errata asks a solver."""
    for domain in Domain:
        question = message.removesuffix(_instruction(domain))
        if question != message and question.strip() and solve_prompt(question, domain).messages[0].content == message:
            return question, domain
    return None


def _own_text(text: str) -> tuple[Ask, str] | None:
    """Errata's plain prompt: what a solver is asked, and behind an empty line the steps before."""
    if own := own_question(text):
        return Ask(own[0], domain=own[1]), ""
    for domain in Domain:
        mark = f"{_instruction(domain)}\n\n"
        before, found, prefix = text.partition(mark)
        if found and (own := own_question(before + _instruction(domain))):
            return Ask(own[0], domain=own[1]), prefix
    return None


def _instruction(domain: Domain) -> str:
    """What stands behind the question in a solver's prompt."""
    return solve_prompt("", domain).messages[0].content
