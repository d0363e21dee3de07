"""Rows that end where their step ends, as the pairs are stored (docs/method.md step 9)."""

from __future__ import annotations

from errata.shapes.records import PAIR_FIELDS, PairRecord, Row, assistant_turn, user_turn
from errata.steps import split_steps
from errata.types import Domain


def steps_and_full(pair: PairRecord) -> list[Row]:
    """Every column of the record, and the prompt: a trainer that finds none would take the sides' common beginning."""
    return [{"prompt": pair.plain_prompt, **{name: getattr(pair, name) for name in PAIR_FIELDS}}]


def trl(pair: PairRecord) -> list[Row]:
    """One row in the standard preference format; the prompt ends with the steps before."""
    return [{"prompt": pair.plain_prompt, "chosen": pair.chosen, "rejected": pair.rejected}]


def trl_conversational(pair: PairRecord) -> list[Row]:
    """One row in the conversational preference format; both sides repeat the steps before."""
    return [
        {
            "prompt": user_turn(pair.user_message),
            "chosen": assistant_turn(pair.prefix + pair.chosen),
            "rejected": assistant_turn(pair.prefix + pair.rejected),
        }
    ]


def step_dpo(pair: PairRecord) -> list[Row]:
    """One row as Step-DPO's loader takes it: question and steps before apart."""
    return [
        {"prompt": pair.question, "initial_reason_steps": pair.prefix, "chosen": pair.chosen, "rejected": pair.rejected}
    ]


def openai(pair: PairRecord) -> list[Row]:
    """One row in OpenAI's preference format; both sides repeat the steps before."""
    return [
        {
            "input": {"messages": user_turn(pair.user_message)},
            "preferred_output": assistant_turn(pair.prefix + pair.chosen),
            "non_preferred_output": assistant_turn(pair.prefix + pair.rejected),
        }
    ]


def kto(pair: PairRecord) -> list[Row]:
    """Two unpaired rows; the prompt ends with the steps before."""
    sides = ((pair.chosen, True), (pair.rejected, False))
    return [{"prompt": pair.plain_prompt, "completion": side, "label": right} for side, right in sides]


def process_reward(pair: PairRecord) -> list[Row]:
    """Two rows of steps, each with whether it is right; none of a full pair, whose wrong step nobody knows."""
    if pair.type != "step":
        return []
    # The opening "Let's think step by step." belongs to no step and gets no label.
    before = [pair.prefix[s.start : s.end] for s in split_steps(pair.prefix, Domain(pair.domain), pair.thoughts)]
    return [
        {"prompt": pair.user_message, "completions": [*before, side], "labels": [*(True for _ in before), right]}
        for side, right in ((pair.chosen, True), (pair.rejected, False))
    ]


def critique(pair: PairRecord) -> list[Row]:
    """One row of a step pair: the flawed solution up to its wrong step, where the error is, and the step as it was."""
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
