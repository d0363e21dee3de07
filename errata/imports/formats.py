"""The formats of preference files: by which columns each is recognised, and what a row of it says.

A reader takes a row (its columns already mapped) and gives what it holds, or raises ``RowProblem``. What a row's format
does not use is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from errata.imports import own
from errata.imports.config import FormatName, ImportConfig
from errata.imports.rows import Imported, ImportedPair, ImportedSide
from errata.imports.turns import Ask, RowProblem, Turns, ask_messages, ask_text, dialogue, text_of, turns_of

Values = Mapping[str, Any]
Reader = Callable[[Values, ImportConfig], Imported]
_PROMPTS = ("prompt", "question", "instruction", "query")
_COMPLETIONS = ("completion", "response", "output")
_CONVERSATIONS = ("messages", "conversations")


@dataclass(frozen=True, slots=True)
class Format:
    """A format: what it is, the columns that tell it (each a choice of names), its reader and the columns it uses.

    ``unpaired``: a row is one completion, so that a gold answer in it has no pair to belong to. ``sides``: the columns
    of the preferred and the rejected completion.
    """

    name: FormatName
    about: str
    columns: tuple[tuple[str, ...], ...]
    read: Reader
    uses: tuple[str, ...]
    unpaired: bool = False
    sides: tuple[str, str] = ("chosen", "rejected")


def recognise(columns: Collection[str]) -> Format | None:
    """The format of a file with these columns; None where they tell none."""
    return next((known for known in FORMATS.values() if matches(known, columns)), None)


def matches(known: Format, columns: Collection[str]) -> bool:
    """Whether these columns hold what the format needs."""
    return all(any(name in columns for name in names) for names in known.columns)


def mapped(row: Values, mapping: Mapping[str, str]) -> dict[str, Any]:
    """A row with its columns under the names of our fields. ``a.b`` is the value ``b`` of the column ``a``."""
    if not mapping:
        return dict(row)
    taken = {name if name in row else name.split(".")[0] for name in mapping.values()}
    values = {name: value for name, value in row.items() if name not in taken}
    # A field that is mapped comes from its column alone, whatever else bears its name.
    values = {name: value for name, value in values.items() if name not in mapping}
    found = {field: _at(row, name) for field, name in mapping.items()}
    return values | {field: value for field, value in found.items() if value is not None}


def _at(row: Values, name: str) -> Any:
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _openai(row: Values, config: ImportConfig) -> ImportedPair:
    given = row["input"] if isinstance(row.get("input"), Mapping) else {}
    prompt = turns_of(given.get("messages"), "input.messages") if given.get("messages") else None
    if prompt is None:
        raise RowProblem("'input' holds no messages")
    if given.get("tools"):
        raise RowProblem("'input.tools' offers tools, which cannot be trained here")
    ask = ask_messages(prompt, "input.messages")
    sides = [_reply(row.get(name), name, ()) for name in ("preferred_output", "non_preferred_output")]
    return own.as_pair(ask, "", sides[0], sides[1], config)


def _trl(row: Values, config: ImportConfig) -> ImportedPair:
    """Prompt and two sides; sides that repeat the prompt, or hold it alone, are cut where they part."""
    chosen, rejected = (_side(row, name) for name in ("chosen", "rejected"))
    name = next((name for name in _PROMPTS if row.get(name) is not None), None)
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RowProblem("of 'chosen' and 'rejected' one is a text and the other is messages")
    if isinstance(chosen, str) and isinstance(rejected, str):
        if name is None:
            return _without_prompt(chosen, rejected, config)
        ask, prefix = _asked(row, name, config)
        return own.as_pair(ask, prefix, chosen, rejected, config)
    shared = _shared(chosen, rejected)  # type: ignore[arg-type]
    if name is None or (shared and len(chosen) > 1):
        ask, prefix = ask_messages(shared, "chosen"), ""
        _check_repeated(row, name, shared)
    else:
        ask, prefix = _asked(row, name, config)
    sides = [_reply(side, field, shared) for side, field in ((chosen, "chosen"), (rejected, "rejected"))]
    return own.as_pair(ask, prefix, sides[0], sides[1], config)


def _side(row: Values, name: str) -> str | Turns:
    if row.get(name) is None:
        raise RowProblem(f"'{name}' is missing")
    return turns_of(row[name], name) or text_of(row[name], name)


def _shared(chosen: Turns, rejected: Turns) -> Turns:
    """The messages with which both sides begin, without the last of either."""
    both = zip(chosen[:-1], rejected[:-1], strict=False)
    return tuple(pair[0] for pair in takewhile(lambda pair: pair[0] == pair[1], both))


def _check_repeated(row: Values, name: str | None, shared: Turns) -> None:
    """Raises RowProblem where the sides begin with another prompt than the row gives."""
    if name is None:
        return
    prompt = turns_of(row[name], name)
    last = text_of(row[name], name) if prompt is None else prompt[-1].content
    if shared[-1].content.strip() != last.strip():
        raise RowProblem("'chosen' and 'rejected' begin with other messages than 'prompt'")


def _reply(value: Any, name: str, shared: Turns) -> str:
    """The one message of the assistant that a side adds to the prompt."""
    turns = value if isinstance(value, tuple) else turns_of(value, name)
    if turns is None:
        return text_of(value, name)
    added = turns[len(shared) :]
    if len(added) != 1:
        raise RowProblem(f"'{name}' holds more than one message of its own, and one reply is trained")
    if added[0].role != "assistant":
        raise RowProblem(f"'{name}' does not end with an assistant's message")
    return added[0].content


def _asked(row: Values, name: str, config: ImportConfig) -> tuple[Ask, str]:
    """The prompt in a column, with the system prompt and Alpaca's further input where there are any."""
    turns = turns_of(row[name], name)
    system = next((row[key] for key in ("system", "system_prompt") if row.get(key)), None)
    if system is not None:
        text_of(system, "system")
    if turns is not None:
        return ask_messages(turns, name), ""
    text = text_of(row[name], name)
    if name == "instruction" and isinstance(row.get("input"), str) and row["input"].strip():
        text = f"{text}\n\n{row['input']}"
    return ask_text(text, system, config.prompts)


def _without_prompt(chosen: str, rejected: str, config: ImportConfig) -> ImportedPair:
    """Two texts that hold their prompt: HH's dialogues by their turns, others up to the last line they share."""
    right, wrong = dialogue(chosen), dialogue(rejected)
    if right and wrong:
        shared = _shared(right, wrong)
        ask = ask_messages(shared, "chosen")
        sides = [_reply(side, name, shared) for side, name in ((right, "chosen"), (wrong, "rejected"))]
        if config.prompts == "text":
            # The dialogue as it is written, up to the mark of the reply.
            start = chosen.rindex("\n\nAssistant:") + len("\n\nAssistant:")
            ask = Ask(chosen[:start], text=chosen[:start])
            sides = [chosen[start:], rejected[rejected.rindex("\n\nAssistant:") + len("\n\nAssistant:") :]]
        return own.as_pair(ask, "", sides[0], sides[1], config)
    at = next((at for at, both in enumerate(zip(chosen, rejected, strict=False)) if both[0] != both[1]), None)
    start = chosen.rfind("\n", 0, min(len(chosen), len(rejected)) if at is None else at) + 1
    prompt = chosen[:start]
    if not prompt.strip():
        raise RowProblem("there is no 'prompt', and 'chosen' and 'rejected' share no line that could be it")
    return own.as_pair(Ask(prompt, text=prompt), "", chosen[start:], rejected[start:], config)


def _kto(row: Values, config: ImportConfig) -> ImportedSide:
    return own.as_side(_completed(row, config), _label(row.get("label")), config)


def _label(value: Any) -> bool:
    """A label as JSON, a table of numbers or a table of texts holds it. Raises RowProblem."""
    text = str(value).strip().lower() if isinstance(value, bool | int | float | str) else ""
    if text in ("true", "1", "1.0"):
        return True
    if text in ("false", "0", "0.0"):
        return False
    raise RowProblem("'label' is neither true nor false")


def _sft(row: Values, config: ImportConfig) -> ImportedSide:
    if row.get("label") is not None and not _label(row["label"]):
        raise RowProblem("'label' says that the completion is wrong, and a sample is imitated")
    name = next((name for name in _CONVERSATIONS if row.get(name) is not None), None)
    if name is None or any(row.get(field) is not None for field in _COMPLETIONS):
        return _completed(row, config)
    turns = turns_of(row[name], name)
    if turns is None:
        raise RowProblem(f"'{name}' is not a list of messages")
    if turns[-1].role != "assistant":
        raise RowProblem(f"'{name}' does not end with an assistant's message")
    _check_weight(row[name], name)
    return ImportedSide(ask_messages(turns[:-1], name), turns[-1].content)


def _check_weight(messages: Any, name: str) -> None:
    """Raises RowProblem where OpenAI's ``weight`` says that the reply is not to be learnt: it is the one that is."""
    last = messages[-1] if isinstance(messages, list) else None
    if isinstance(last, Mapping) and last.get("weight") == 0:
        raise RowProblem(f"'{name}' ends with a message of weight 0, and the last reply is what is imitated")


def _completed(row: Values, config: ImportConfig) -> ImportedSide:
    name = next((name for name in _PROMPTS if row.get(name) is not None), None)
    field = next((field for field in _COMPLETIONS if row.get(field) is not None), None)
    for missing, found in (("prompt", name), ("completion", field)):
        if found is None:
            raise RowProblem(f"'{missing}' is missing")
    if name == "question" and row.get("domain") is not None:
        ask, prefix = own.solved(row, config), ""  # a sample of Errata's own, which says what domain it is of
    else:
        ask, prefix = _asked(row, str(name), config)
    return ImportedSide(ask, _reply(row[str(field)], str(field), ()), prefix=prefix)


def _any_of(*names: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name,) for name in names)


_SYSTEM = ("system", "system_prompt", "input")
#: In the order in which they are tried: the more columns tell a format, the earlier it stands.
FORMATS: dict[FormatName, Format] = {
    known.name: known
    for known in (
        Format(
            "openai",
            "OpenAI preference rows",
            _any_of("input", "preferred_output", "non_preferred_output"),
            _openai,
            ("input", "preferred_output", "non_preferred_output"),
            sides=("preferred_output", "non_preferred_output"),
        ),
        Format(
            "errata",
            "pairs as Errata freezes them (`steps_and_full`)",
            _any_of("pair_id", "type", "question", "chosen", "rejected"),
            own.read_pair,
            own.PAIR_COLUMNS,
        ),
        Format(
            "critique",
            "Errata's critiques",
            _any_of("question", "flawed_solution", "error_start", "error_end", "correction"),
            own.read_critique,
            own.CRITIQUE_COLUMNS,
            sides=("correction", "flawed_solution"),
        ),
        Format(
            "process_reward",
            "stepwise supervision: two rows that differ in their last step are a pair",
            (*_any_of("completions", "labels"), _PROMPTS),
            own.read_steps,
            ("prompt", "completions", "labels"),
            unpaired=True,
        ),
        Format(
            "step_dpo",
            "Step-DPO rows: question, steps before, and one step twice",
            (*_any_of("initial_reason_steps", "chosen", "rejected"), _PROMPTS),
            own.read_step_dpo,
            ("prompt", "question", "initial_reason_steps", "chosen", "rejected"),
        ),
        Format(
            "trl",
            "TRL preference rows: standard, conversational, or with the prompt in both sides (HH)",
            _any_of("chosen", "rejected"),
            _trl,
            (*_PROMPTS, *_SYSTEM, "chosen", "rejected"),
        ),
        Format(
            "kto",
            "KTO's unpaired rows: a right and a wrong completion of one prompt are a pair",
            (_PROMPTS, _COMPLETIONS, ("label",)),
            _kto,
            (*_PROMPTS, *_SYSTEM, *_COMPLETIONS, "label"),
            unpaired=True,
        ),
        Format(
            "sft",
            "samples to imitate: prompt and completion",
            (_PROMPTS, _COMPLETIONS),
            _sft,
            (*_PROMPTS, *_SYSTEM, *_COMPLETIONS, "domain"),
            unpaired=True,
        ),
    )
}
_MESSAGES = Format("sft", "samples to imitate: messages", (_CONVERSATIONS,), _sft, _CONVERSATIONS, True)


def known_format(name: FormatName | None, columns: Collection[str]) -> Format | None:
    """The format a caller names, or that the columns tell; None where they hold nothing that it needs."""
    if name not in (None, "sft"):
        return FORMATS[name] if matches(FORMATS[name], columns) else None
    found = FORMATS["sft"] if name == "sft" and matches(FORMATS["sft"], columns) else None
    if name is None:
        found = recognise(columns)
    return found or (_MESSAGES if matches(_MESSAGES, columns) else None)
