"""Rows whose completions end at an answer: for trainers that append an end-of-sequence token to each of them.

The prompt is the question alone, and both sides begin with the solution's first character. In DPO what both sides
begin with cancels in the loss, so nothing is lost by repeating the steps before. A prompt that ended amid a sentence
would have its last token merged with the completion's first, and no chat template goes on with an assistant's turn.
"""

from __future__ import annotations

from errata.shapes.records import SEPARATOR, PairRecord, Row, SampleRecord, assistant_turn, user_turn


def whole(pair: PairRecord) -> list[Row]:
    """One row in the standard preference format; none of a pair that has no whole form."""
    return [
        {"prompt": pair.user_message + SEPARATOR, "chosen": chosen, "rejected": rejected}
        for chosen, rejected in _sides(pair)
    ]


def whole_conversational(pair: PairRecord) -> list[Row]:
    """One row in the conversational preference format."""
    return [
        {
            "prompt": user_turn(pair.user_message),
            "chosen": assistant_turn(chosen),
            "rejected": assistant_turn(rejected),
        }
        for chosen, rejected in _sides(pair)
    ]


def whole_kto(pair: PairRecord) -> list[Row]:
    """Two unpaired rows."""
    prompt = pair.user_message + SEPARATOR
    return [
        {"prompt": prompt, "completion": side, "label": right}
        for sides in _sides(pair)
        for side, right in zip(sides, (True, False), strict=True)
    ]


def whole_kto_conversational(pair: PairRecord) -> list[Row]:
    """Two unpaired rows of turns."""
    prompt = user_turn(pair.user_message)
    return [
        {"prompt": prompt, "completion": assistant_turn(side), "label": right}
        for sides in _sides(pair)
        for side, right in zip(sides, (True, False), strict=True)
    ]


def whole_openai(pair: PairRecord) -> list[Row]:
    """One row in OpenAI's preference format."""
    return [
        {
            "input": {"messages": user_turn(pair.user_message)},
            "preferred_output": assistant_turn(chosen),
            "non_preferred_output": assistant_turn(rejected),
        }
        for chosen, rejected in _sides(pair)
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


def _sides(pair: PairRecord) -> list[tuple[str, str]]:
    found = pair.whole
    return [] if found is None else [found]
