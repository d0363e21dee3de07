"""The shapes a dataset's rows come in: one dataset configuration per shape, so that columns never mix.

A shape turns one stored pair, or one correct sample, into rows. It states its columns in a small type language
(``"string"``, ``"int64"``, ``"float64"``, ``"bool"``, a one-item list for a list, a dict for a struct) that whoever
writes Parquet maps to an explicit schema, and says what reads it and how: trainer, loader, end of sequence, chat
template.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from errata.output_config import ShapeName
from errata.shapes import steps, whole
from errata.shapes.records import PAIR_FIELDS, Fields, FieldType, PairRecord, Row, SampleRecord

Ends = Literal["answer", "step", "nothing"]
ChatTemplate = Literal["applied", "not applied"]
TrlTrainer = Literal["DPOTrainer", "ORPOTrainer", "KTOTrainer", "SFTTrainer"]

_MESSAGES: FieldType = [{"role": "string", "content": "string"}]
_TURNS: dict[str, FieldType] = {"prompt": _MESSAGES, "chosen": _MESSAGES, "rejected": _MESSAGES}
_OPENAI: Fields = {
    "input": {"messages": _MESSAGES},
    "preferred_output": _MESSAGES,
    "non_preferred_output": _MESSAGES,
}
_APPENDED = "The trainer appends one to every completion; every completion ends at an answer."
_BY_TEMPLATE = "The chat template ends the assistant's turn; every turn ends at an answer."
_STOPS = (
    "A completion of a step pair ends in the middle of a solution: with an end of sequence behind it, a model learns to"
    ' stop after one step. Right for trainers that append none, or with `types: ["full"]`.'
)
_PREFERENCE_TRAINERS: tuple[TrlTrainer, ...] = ("DPOTrainer", "ORPOTrainer")


def _nothing(_: PairRecord) -> list[Row]:
    return []


@dataclass(frozen=True, slots=True)
class Shape:
    """A named row format.

    ``about``: what it is; ``trainers``: whom it is for; ``loader``: what reads it, exactly; ``eos``: what becomes of
    the end of sequence, and for which settings that is right. ``ends``: where completions end. ``chat_template``:
    whether the consumer applies the model's. ``trl``: the trainers of TRL that train on it correctly as it stands.
    ``rows`` makes rows of a pair, ``samples`` of a correct sample; none where the shape does not apply. ``of_sides``:
    where rows need no more of a pair than its whole sides, what makes them of these; ``rows`` then says the same.
    """

    name: ShapeName
    about: str
    trainers: str
    loader: str
    eos: str
    ends: Ends
    chat_template: ChatTemplate
    fields: Fields
    rows: Callable[[PairRecord], list[Row]] = _nothing
    samples: Callable[[SampleRecord], list[Row]] | None = None
    trl: tuple[TrlTrainer, ...] = ()
    of_sides: whole.OfSides | None = None


def _strings(*names: str) -> Fields:
    return dict.fromkeys(names, "string")


def _of_trl(*trainers: TrlTrainer) -> str:
    return f"TRL: {', '.join(trainers)}"


def _loads(name: ShapeName) -> str:
    return f'datasets.load_dataset(folder, "{name}")'


_ALL = (
    Shape(
        "steps_and_full",
        "every pair with its proof and history; what Errata trains on",
        "Errata's own trainer",
        'POST /v1/training-jobs with objective "dpo"',
        "Errata appends one to full pairs and none to step pairs. Any other trainer appends one to both.",
        "step",
        "applied",
        {"prompt": "string", **PAIR_FIELDS},
        steps.steps_and_full,
    ),
    Shape(
        "whole",
        "both sides from the question to an answer, as text",
        _of_trl(*_PREFERENCE_TRAINERS),
        _loads("whole"),
        _APPENDED,
        "answer",
        "not applied",
        _strings("prompt", "chosen", "rejected"),
        whole.of_pairs(whole.whole),
        trl=_PREFERENCE_TRAINERS,
        of_sides=whole.whole,
    ),
    Shape(
        "whole_conversational",
        "both sides from the question to an answer, as turns",
        _of_trl(*_PREFERENCE_TRAINERS),
        _loads("whole_conversational"),
        _BY_TEMPLATE,
        "answer",
        "applied",
        {**_TURNS},
        whole.of_pairs(whole.whole_conversational),
        trl=_PREFERENCE_TRAINERS,
        of_sides=whole.whole_conversational,
    ),
    Shape(
        "whole_kto",
        "unpaired whole solutions, as text: two rows for each pair",
        _of_trl("KTOTrainer"),
        _loads("whole_kto"),
        _APPENDED,
        "answer",
        "not applied",
        {"prompt": "string", "completion": "string", "label": "bool"},
        whole.of_pairs(whole.whole_kto),
        trl=("KTOTrainer",),
        of_sides=whole.whole_kto,
    ),
    Shape(
        "whole_kto_conversational",
        "unpaired whole solutions, as turns: two rows for each pair",
        _of_trl("KTOTrainer"),
        _loads("whole_kto_conversational"),
        _BY_TEMPLATE,
        "answer",
        "applied",
        {"prompt": _MESSAGES, "completion": _MESSAGES, "label": "bool"},
        whole.of_pairs(whole.whole_kto_conversational),
        trl=("KTOTrainer",),
        of_sides=whole.whole_kto_conversational,
    ),
    Shape(
        "whole_openai",
        "whole solutions as OpenAI preference fine-tuning rows",
        "OpenAI fine-tuning, method dpo, and services that take its format",
        'openai: client.files.create(file=open("whole_openai/train.jsonl", "rb"), purpose="fine-tune")',
        "The service ends the assistant's turn; every turn ends at an answer.",
        "answer",
        "applied",
        {**_OPENAI},
        whole.of_pairs(whole.whole_openai),
        of_sides=whole.whole_openai,
    ),
    Shape(
        "sft",
        "every correct sample, as text: the control for fine-tuning at an equal budget",
        f"Errata's own trainer; {_of_trl('SFTTrainer')}",
        f'POST /v1/training-jobs with objective "sft"; {_loads("sft")}',
        _APPENDED,
        "answer",
        "not applied",
        _strings("prompt", "completion", "question", "problem_id", "job_id", "domain"),
        samples=whole.sft,
        trl=("SFTTrainer",),
    ),
    Shape(
        "sft_conversational",
        "every correct sample, as turns",
        _of_trl("SFTTrainer"),
        _loads("sft_conversational"),
        _BY_TEMPLATE,
        "answer",
        "applied",
        {"prompt": _MESSAGES, "completion": _MESSAGES},
        samples=whole.sft_conversational,
        trl=("SFTTrainer",),
    ),
    Shape(
        "trl",
        "preference rows as text: the prompt ends with the steps before, each side is a step",
        "preference trainers that append no end of sequence",
        _loads("trl"),
        f"TRL appends one. {_STOPS}",
        "step",
        "not applied",
        _strings("prompt", "chosen", "rejected"),
        steps.trl,
    ),
    Shape(
        "trl_conversational",
        "preference rows as turns: both sides repeat the steps before and end with a step",
        "preference trainers that drop what the chat template writes behind the last turn",
        _loads("trl_conversational"),
        f"The chat template ends the turn. {_STOPS}",
        "step",
        "applied",
        {**_TURNS},
        steps.trl_conversational,
    ),
    Shape(
        "step_dpo",
        "Step-DPO rows: question and steps before apart",
        "Step-DPO's own trainer",
        "Step-DPO's train.py, --data_path step_dpo/train.jsonl",
        "Step-DPO's trainer appends none: right for step pairs. Others append one and leave the steps before out.",
        "step",
        "not applied",
        _strings("prompt", "initial_reason_steps", "chosen", "rejected"),
        steps.step_dpo,
    ),
    Shape(
        "openai",
        "preference rows in OpenAI's format that end with a step",
        "none for step pairs: use `whole_openai`",
        "JSON lines in OpenAI's preference format",
        f"The service ends the turn. {_STOPS}",
        "step",
        "applied",
        {**_OPENAI},
        steps.openai,
    ),
    Shape(
        "kto",
        "unpaired rows, two for each pair: the prompt ends with the steps before, the completion is a step",
        "KTO trainers that append no end of sequence",
        _loads("kto"),
        f"TRL appends one. {_STOPS}",
        "step",
        "not applied",
        {"prompt": "string", "completion": "string", "label": "bool"},
        steps.kto,
    ),
    Shape(
        "process_reward",
        "stepwise supervision: steps and whether each is right",
        "Axolotl: process reward models",
        "Axolotl, `process_reward_model: true` and a dataset of `type: stepwise_supervised`",
        "A label stands at each step's end; nothing is generated.",
        "nothing",
        "not applied",
        {"prompt": "string", "completions": ["string"], "labels": ["bool"]},
        steps.process_reward,
    ),
    Shape(
        "critique",
        "flawed solutions: where the error is, its kind, and the correction",
        "no trainer as it stands: material for critics and for evaluation",
        _loads("critique"),
        "Nothing is a completion.",
        "nothing",
        "not applied",
        {
            **_strings("question", "flawed_solution"),
            **dict.fromkeys(("error_step", "error_start", "error_end"), "int64"),
            **_strings("error_kind", "form", "evidence", "correction"),
        },
        steps.critique,
    ),
)

SHAPES: dict[ShapeName, Shape] = {shape.name: shape for shape in _ALL}
