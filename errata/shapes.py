"""The shapes a dataset's rows come in: one dataset configuration per shape, so that columns never mix.

A shape turns one stored pair into rows and states its columns in a small type language (``"string"``, ``"int64"``,
``"bool"``, a one-item list for a list, a dict for a struct) that whoever writes Parquet maps to an explicit schema.
``sft`` is made from solutions instead, by :func:`sft_row`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from errata.output_config import ShapeName
from errata.prompts import solve_prompt
from errata.steps import split_steps
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain

Row = dict[str, Any]
FieldType = str | list[Any] | dict[str, Any]
Fields = dict[str, FieldType]

_MESSAGES: FieldType = [{"role": "string", "content": "string"}]


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One pair with its whole history, in the order of the ``steps_and_full`` columns.

    ``start`` and ``end`` are the chosen step's character offsets in its solution, so ``start == len(prefix)``;
    ``form`` and ``editor`` say how the error was made (null for full pairs); ``evidence`` is the kind of proof (null
    for a full pair: both its sides were judged against the gold answer) and ``evidence_detail`` its JSON text;
    ``seed`` is that of the rejected text. ``thoughts``, the markers that the job's steps are cut by, is no column.
    """

    pair_id: str
    type: str
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None
    start: int | None
    end: int | None
    error_kind: str | None
    form: str | None
    editor: str | None
    distance: int | None
    evidence: str | None
    evidence_detail: str | None
    source: str
    problem_id: str
    job_id: str
    language_model: str | None
    prompt_version: str | None
    seed: int | None
    domain: str
    thoughts: Markers = THOUGHTS

    @property
    def user_message(self) -> str:
        """What the solver was asked."""
        return solve_prompt(self.question, Domain(self.domain)).messages[0].content

    @property
    def plain_prompt(self) -> str:
        """Question and steps before as one text, for formats without roles."""
        return f"{self.user_message}\n\n{self.prefix}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A named row format: its columns, what it is for, and the rows one pair gives (none where it does not apply)."""

    name: ShapeName
    about: str
    fields: Fields
    rows: Callable[[PairRecord], list[Row]]


def sft_row(question: str, completion: str, problem_id: str, job_id: str, domain: str) -> Row:
    """A row of ``sft``: a correct sample as it was written; the end of sequence is implied."""
    return dict(zip(_SFT_FIELDS, (question, completion, problem_id, job_id, domain), strict=True))


def evidence_text(detail: dict[str, Any] | None) -> str | None:
    """Evidence as JSON text with sorted keys: a column of one type, whatever the kind of proof."""
    return None if detail is None else json.dumps(detail, ensure_ascii=False, sort_keys=True)


def _steps_and_full(pair: PairRecord) -> list[Row]:
    return [{name: getattr(pair, name) for name in _PAIR_FIELDS}]


def _trl(pair: PairRecord) -> list[Row]:
    return [{"prompt": pair.plain_prompt, "chosen": pair.chosen, "rejected": pair.rejected}]


def _message(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _trl_conversational(pair: PairRecord) -> list[Row]:
    return [
        {
            "prompt": _message("user", pair.user_message),
            "chosen": _message("assistant", pair.prefix + pair.chosen),
            "rejected": _message("assistant", pair.prefix + pair.rejected),
        }
    ]


def _step_dpo(pair: PairRecord) -> list[Row]:
    return [
        {"prompt": pair.question, "initial_reason_steps": pair.prefix, "chosen": pair.chosen, "rejected": pair.rejected}
    ]


def _openai(pair: PairRecord) -> list[Row]:
    return [
        {
            "input": {"messages": _message("user", pair.user_message)},
            "preferred_output": _message("assistant", pair.prefix + pair.chosen),
            "non_preferred_output": _message("assistant", pair.prefix + pair.rejected),
        }
    ]


def _kto(pair: PairRecord) -> list[Row]:
    sides = ((pair.chosen, True), (pair.rejected, False))
    return [{"prompt": pair.plain_prompt, "completion": side, "label": right} for side, right in sides]


def _process_reward(pair: PairRecord) -> list[Row]:
    if pair.type != "step":
        return []
    # The opening "Let's think step by step." belongs to no step and gets no label.
    before = [pair.prefix[s.start : s.end] for s in split_steps(pair.prefix, Domain(pair.domain), pair.thoughts)]
    return [
        {"prompt": pair.user_message, "completions": [*before, side], "labels": [*(True for _ in before), right]}
        for side, right in ((pair.chosen, True), (pair.rejected, False))
    ]


def _critique(pair: PairRecord) -> list[Row]:
    if pair.type != "step":
        return []
    start = len(pair.prefix)
    return [
        {
            "question": pair.question,
            "flawed_solution": pair.prefix + pair.rejected,
            "error_step": pair.step_index,
            "error_start": start,
            "error_end": start + len(pair.rejected),
            "error_kind": pair.error_kind,
            "form": pair.form,
            "evidence": pair.evidence,
            "correction": pair.chosen,
        }
    ]


def _strings(*names: str) -> Fields:
    return dict.fromkeys(names, "string")


_PAIR_FIELDS: Fields = {
    field.name: "int64" if str(field.type).startswith("int") else "string"
    for field in fields(PairRecord)
    if field.name != "thoughts"
}
_PREFERENCE = _strings("prompt", "chosen", "rejected")
_SFT_FIELDS = _strings("question", "completion", "problem_id", "job_id", "domain")

SHAPES: dict[ShapeName, Shape] = {
    shape.name: shape
    for shape in (
        Shape(
            "steps_and_full",
            "every pair with its proof and history; what Errata trains on",
            _PAIR_FIELDS,
            _steps_and_full,
        ),
        Shape("sft", "every correct sample: the control for fine-tuning at an equal budget", _SFT_FIELDS, lambda _: []),
        Shape("trl", "TRL preference rows, standard: the prompt ends with the steps before", _PREFERENCE, _trl),
        Shape(
            "trl_conversational",
            "TRL preference rows, conversational: both sides repeat the steps before",
            {"prompt": _MESSAGES, "chosen": _MESSAGES, "rejected": _MESSAGES},
            _trl_conversational,
        ),
        Shape(
            "step_dpo",
            "Step-DPO rows: question and steps before apart",
            _strings("prompt", "initial_reason_steps", "chosen", "rejected"),
            _step_dpo,
        ),
        Shape(
            "openai",
            "OpenAI preference fine-tuning rows",
            {"input": {"messages": _MESSAGES}, "preferred_output": _MESSAGES, "non_preferred_output": _MESSAGES},
            _openai,
        ),
        Shape(
            "kto",
            "unpaired rows, as KTO takes them: two for each pair",
            {"prompt": "string", "completion": "string", "label": "bool"},
            _kto,
        ),
        Shape(
            "process_reward",
            "stepwise supervision, as TRL's reward trainer takes it: steps and whether each is right",
            {"prompt": "string", "completions": ["string"], "labels": ["bool"]},
            _process_reward,
        ),
        Shape(
            "critique",
            "flawed solutions: where the error is, its kind, and the correction",
            {
                "question": "string",
                "flawed_solution": "string",
                "error_step": "int64",
                "error_start": "int64",
                "error_end": "int64",
                "error_kind": "string",
                "form": "string",
                "evidence": "string",
                "correction": "string",
            },
            _critique,
        ),
    )
}
