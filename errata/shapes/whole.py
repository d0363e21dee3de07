"""Rows whose completions end at an answer: for trainers that append an end-of-sequence token to each of them.

The prompt is the question alone, and both sides begin with the solution's first character. In DPO what both sides
begin with cancels in the loss, so nothing is lost by repeating the steps before. A prompt that ended amid a sentence
would have its last token merged with the completion's first, and no chat template goes on with an assistant's turn.
"""

from __future__ import annotations

from collections.abc import Callable

from errata.shapes.records import SEPARATOR, PairRecord, Row, SampleRecord, assistant_turn, user_turn

OfSides = Callable[[str, str, str], list[Row]]
"""Rows of what the solver was asked, the whole chosen side and the whole rejected side."""


def of_pairs(rows: OfSides) -> Callable[[PairRecord], list[Row]]:
    """The rows of a pair by those of its whole sides; none of a pair that has no whole form."""

    def of_pair(pair: PairRecord) -> list[Row]:
        sides = pair.whole
        return [] if sides is None else rows(pair.user_message, *sides)

    return of_pair


def whole(asked: str, chosen: str, rejected: str) -> list[Row]:
    """One row in the standard preference format."""
    return [{"prompt": asked + SEPARATOR, "chosen": chosen, "rejected": rejected}]


def whole_conversational(asked: str, chosen: str, rejected: str) -> list[Row]:
    """One row in the conversational preference format."""
    return [{"prompt": user_turn(asked), "chosen": assistant_turn(chosen), "rejected": assistant_turn(rejected)}]


def whole_kto(asked: str, chosen: str, rejected: str) -> list[Row]:
    """Two unpaired rows."""
    sides = ((chosen, True), (rejected, False))
    return [{"prompt": asked + SEPARATOR, "completion": side, "label": right} for side, right in sides]


def whole_kto_conversational(asked: str, chosen: str, rejected: str) -> list[Row]:
    """Two unpaired rows of turns."""
    sides = ((chosen, True), (rejected, False))
    return [{"prompt": user_turn(asked), "completion": assistant_turn(side), "label": right} for side, right in sides]


def whole_openai(asked: str, chosen: str, rejected: str) -> list[Row]:
    """One row in OpenAI's preference format."""
    return [
        {
            "input": {"messages": user_turn(asked)},
            "preferred_output": assistant_turn(chosen),
            "non_preferred_output": assistant_turn(rejected),
        }
    ]


def sft(sample: SampleRecord) -> list[Row]:
    """One row of prompt and completion, with where the sample comes from."""
    return [
        {
            "prompt": sample.user_message + SEPARATOR,
            "completion": sample.completion.lstrip(),
            "question": sample.question,
            "problem_id": sample.problem_id,
            "job_id": sample.job_id,
            "domain": sample.domain,
        }
    ]


def sft_conversational(sample: SampleRecord) -> list[Row]:
    """One row of turns: the prompt and the completion."""
    completion = assistant_turn(sample.completion.lstrip())
    return [{"prompt": user_turn(sample.user_message), "completion": completion}]
