"""What is written of an imported dataset: a table per shape, with the prompts given as the file gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from errata.imports.config import ImportShape
from errata.imports.rows import MESSAGES, PAIR_FIELDS, plain_prompt, prompt_messages
from errata.shapes import Fields, Row

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """A table: its columns, what it is for, and the rows one stored row gives (none where it cannot be said so)."""

    name: str
    about: str
    fields: Fields
    rows: Callable[[Values], list[Row]]


def exports(shapes: list[ImportShape] | None, *, conversational: bool, has_pairs: bool) -> list[Export]:
    """The tables of a dataset: what Errata trains on, and the shapes asked for or fit for it.

    ``conversational``: its prompts are messages. Then ``sft`` holds messages too, as trainers take them.
    """
    wanted = shapes if shapes is not None else ["whole_conversational" if conversational else "whole"]
    always = ["steps_and_full", "sft"] if has_pairs else ["sft"]
    named = {*always, *(wanted if has_pairs else ())}
    return [each for each in _tables(conversational) if each.name in named]


def sample_of(row: Values) -> Row:
    """The preferred side of a pair as a sample, or a sample itself, with what the prompt held of the reply already."""
    return {**row, "completion": row["prefix"] + row["chosen" if "chosen" in row else "completion"]}


def _steps_and_full(row: Values) -> list[Row]:
    return [{name: row[name] for name in PAIR_FIELDS}]


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _standard(row: Values) -> list[Row]:
    prompt = plain_prompt(row)
    if prompt is None:
        return []
    return [{"prompt": prompt + row["prefix"], "chosen": row["chosen"], "rejected": row["rejected"]}]


def _conversational(row: Values) -> list[Row]:
    prompt = prompt_messages(row)
    if prompt is None:
        return []
    sides = {side: _reply(row["prefix"] + row[side]) for side in ("chosen", "rejected")}
    return [{"prompt": prompt, **sides}]


def _whole(rows: Callable[[Values], list[Row]]) -> Callable[[Values], list[Row]]:
    """Only pairs whose sides end the reply: what appends EOS to every completion must not see a step."""
    return lambda row: [] if row["type"] == "step" else rows(row)


def _openai(row: Values) -> list[Row]:
    return [
        {
            "input": {"messages": pair["prompt"]},
            "preferred_output": pair["chosen"],
            "non_preferred_output": pair["rejected"],
        }
        for pair in _conversational(row)
    ]


def _unpaired(rows: Callable[[Values], list[Row]]) -> Callable[[Values], list[Row]]:
    return lambda row: [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in rows(row)
        for side in ("chosen", "rejected")
    ]


def _samples(conversational: bool) -> Callable[[Values], list[Row]]:
    """Samples as Errata trains on them and TRL takes them: ``prompt`` and ``completion`` are texts, or messages."""

    def rows(row: Values) -> list[Row]:
        prompt = prompt_messages(row) if conversational else plain_prompt(row)
        if prompt is None or row.get("type") == "step":
            return []
        sample = sample_of(row)
        completion = _reply(sample["completion"]) if conversational else sample["completion"]
        same = {name: sample.get(name) for name in _SAMPLE_COLUMNS}
        return [{"prompt": prompt, "completion": completion, **same}]

    return rows


_SAMPLE_COLUMNS = ("question", "problem_id", "job_id", "domain", "prompt_messages", "prompt_text")
_STRINGS: Fields = dict.fromkeys(("prompt", "chosen", "rejected"), "string")
_TURNS: Fields = dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES)


def _tables(conversational: bool) -> tuple[Export, ...]:
    kind = MESSAGES if conversational else "string"
    sample = {
        "prompt": kind,
        "completion": kind,
        **dict.fromkeys(_SAMPLE_COLUMNS, "string"),
        "prompt_messages": MESSAGES,
    }
    openai: Fields = {"input": {"messages": MESSAGES}, "preferred_output": MESSAGES, "non_preferred_output": MESSAGES}
    return (
        Export("steps_and_full", "every pair with its columns; what Errata trains on", PAIR_FIELDS, _steps_and_full),
        Export("sft", "samples, or the preferred sides, for supervised fine-tuning", sample, _samples(conversational)),
        Export("whole", "TRL preference rows, standard; both sides end the reply", _STRINGS, _whole(_standard)),
        Export(
            "whole_conversational",
            "TRL preference rows, conversational; both sides end the reply",
            _TURNS,
            _whole(_conversational),
        ),
        Export("trl", "TRL preference rows, standard; steps among them end in mid-reply", _STRINGS, _standard),
        Export(
            "trl_conversational",
            "TRL preference rows, conversational; steps among them end in mid-reply",
            _TURNS,
            _conversational,
        ),
        Export("whole_openai", "OpenAI preference fine-tuning rows", openai, _whole(_openai)),
        Export(
            "whole_kto",
            "unpaired rows, as KTO takes them: two for each pair",
            {"prompt": "string", "completion": "string", "label": "bool"},
            _whole(_unpaired(_standard)),
        ),
        Export(
            "whole_kto_conversational",
            "unpaired rows of messages, as KTO takes them: two for each pair",
            {"prompt": MESSAGES, "completion": MESSAGES, "label": "bool"},
            _whole(_unpaired(_conversational)),
        ),
    )
