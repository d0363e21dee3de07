"""Generating with a budget for thoughts: a thought that reaches it is closed, and the answer asked on.

Two batches at most: what a model writes within the budget, then the rest of those texts that the budget cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.config import ThoughtMarkers
from errata.thoughts import Markers, after_thoughts, open_thought, without_thoughts
from workers.engines.base import Completion, GenerationRequest, ModelSpec
from workers.stages.base import StageContext


def generate_solutions(
    context: StageContext,
    model: ModelSpec,
    requests: Sequence[GenerationRequest],
    thoughts: ThoughtMarkers,
    owners: Sequence[str],
) -> list[list[Completion]]:
    """Completions per request, with their thoughts bounded and kept as ``thoughts`` says.

    ``owners``: the problem of each request, which is set aside where reading its thoughts raises.
    The tokens and the prompt of both parts are counted together. A completion's seed is its own in both parts, so a
    repeated stage writes the same. Raises EngineError, and Cancelled, as ``StageContext.generate``.
    """
    found = _generate(context, model, requests, thoughts, owners)
    if thoughts.keep:
        return found
    for at, (owner, request) in enumerate(zip(owners, requests, strict=True)):
        prefix = request.prompt.assistant_prefix
        with context.errors.of(owner):
            found[at] = [replace(one, text=_without(prefix, one.text, thoughts.markers)) for one in found[at]]
    return found


def _without(prefix: str, text: str, markers: Markers) -> str:
    """What stands behind the thoughts; the text as it is where nothing does."""
    return without_thoughts(text, markers) if prefix else after_thoughts(text, markers) or text


def _generate(
    context: StageContext,
    model: ModelSpec,
    requests: Sequence[GenerationRequest],
    thoughts: ThoughtMarkers,
    owners: Sequence[str],
) -> list[list[Completion]]:
    budget = thoughts.budget
    if budget is None:
        return context.generate(model, requests)
    first = context.generate(model, [replace(each, max_tokens=min(budget, each.max_tokens)) for each in requests])
    places: list[tuple[int, int]] = []
    rest: list[GenerationRequest] = []
    for at, (request, completions) in enumerate(zip(requests, first, strict=True)):
        for number, completion in enumerate(completions):
            left = request.max_tokens - completion.length
            if completion.finish_reason == "length" and left > 0:
                with context.errors.of(owners[at]):
                    closed = _closed(completion, thoughts.markers)
                    first[at][number] = closed
                    rest.append(_continued(request, number, closed.text, left))
                    places.append((at, number))
    answers = context.generate(model, rest) if rest else []
    for (at, number), [answer] in zip(places, answers, strict=True):
        first[at][number] = _joined(first[at][number], answer)
    return first


def _closed(completion: Completion, markers: Markers) -> Completion:
    """The completion with its thought ended. One without any marker is a thought that the template opened."""
    closing = open_thought(completion.text, markers)
    return completion if closing is None else replace(completion, text=f"{completion.text.rstrip()}\n{closing}\n\n")


def _continued(request: GenerationRequest, number: int, text: str, left: int) -> GenerationRequest:
    prompt = replace(request.prompt, assistant_prefix=request.prompt.assistant_prefix + text)
    return replace(request, prompt=prompt, n=1, max_tokens=left, seed=request.seed + number)


def _joined(first: Completion, rest: Completion) -> Completion:
    return Completion(
        first.text + rest.text,
        rest.finish_reason,
        first.prompt_tokens + rest.prompt_tokens,
        first.completion_tokens + rest.completion_tokens,
        first.cached_tokens + rest.cached_tokens,
        first.reused_tokens + rest.reused_tokens,
    )
