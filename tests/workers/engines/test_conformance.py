"""One suite for every engine: the same texts, tokens, seeds, stops, limits and ends, whatever answers."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from demo.problems import generate
from errata.prompts import edit_prompt, solve_prompt
from errata.steps import split_steps
from errata.types import Domain, Message, Prompt
from tests.processes import until
from tests.workers.engines.conftest import START_SECONDS, Served
from workers.engines.base import Cancelled, Completion, EngineError, GenerationRequest, Journal, ModelSpec, Text
from workers.engines.transformers_engine import TransformersEngine

pytestmark = pytest.mark.timeout(START_SECONDS)
PROBLEMS = generate(count=6, seed=11)


def solving(**values: object) -> list[GenerationRequest]:
    """Requests for solutions of real problems of the miniature."""
    asked = {"max_tokens": 200, **values}
    return [GenerationRequest(solve_prompt(p.question), seed=at, **asked) for at, p in enumerate(PROBLEMS)]  # type: ignore[arg-type]


def editing() -> list[GenerationRequest]:
    """Requests for an edit of every step of one solution: prompts that share a long beginning, with a stop string."""
    problem = PROBLEMS[0]
    text = str(problem.gold_solution)
    steps = split_steps(text, Domain.MATH)
    prompts = [edit_prompt(problem.question, text, steps, step.index, "calculation") for step in steps]
    return [GenerationRequest(prompt, max_tokens=64) for prompt in prompts]


def test_greedy_texts_and_tokens_are_the_reference_engines(served: Served, reference: TransformersEngine) -> None:
    requests = [*solving(), *editing()]
    theirs, ours = served.generate(requests), reference.generate(requests)
    assert [c.text for [c] in theirs] == [c.text for [c] in ours]
    assert [c.finish_reason for [c] in theirs] == [c.finish_reason for [c] in ours]
    assert [c.prompt_tokens for [c] in theirs] == [c.prompt_tokens for [c] in ours]
    assert [c.completion_tokens for [c] in theirs] == [c.completion_tokens for [c] in ours]
    assert len({c.text for [c] in theirs}) > 3


def test_a_seed_gives_the_same_text_again_and_samples_have_seeds_of_their_own(served: Served) -> None:
    requests = solving(temperature=1.0, n=3)
    first = served.generate(requests)
    again = served.generate(requests)
    assert [[c.text for c in result] for result in first] == [[c.text for c in result] for result in again]
    assert all(len(result) == 3 for result in first)
    assert any(len({c.text for c in result}) > 1 for result in first)
    assert [[c.prompt_tokens > 0 for c in result] for result in first] == [[True, False, False]] * len(requests)
    third = [GenerationRequest(r.prompt, temperature=1.0, max_tokens=200, seed=r.seed + 2) for r in requests]
    assert [c.text for [c] in served.generate(third)] == [result[2].text for result in first]


def test_what_follows_from_an_answer_is_asked_in_its_place(served: Served) -> None:
    requests = solving(temperature=1.0)
    first, second = (
        [c.text for [c] in served.generate([replace(r, seed=r.seed + shift) for r in requests])] for shift in (0, 100)
    )
    told: dict[int, list[str]] = {}

    def follow_up(at: int, completion: Completion) -> GenerationRequest | None:
        told.setdefault(at, []).append(completion.text)
        odd = at % 2 and len(told[at]) == 1
        return replace(requests[at], seed=requests[at].seed + 100) if odd else None

    results = served.generate(requests, follow_up=follow_up)
    assert [c.text for [c] in results] == [texts[at % 2] for at, texts in enumerate(zip(first, second, strict=True))]
    assert told == {at: [first[at], second[at]][: 1 + at % 2] for at in range(len(requests))}


def test_several_greedy_samples_are_the_same_text(served: Served) -> None:
    [result] = served.generate([GenerationRequest(solve_prompt(PROBLEMS[0].question), n=3, max_tokens=20)])
    assert len(result) == 3
    assert len({c.text for c in result}) == 1


def test_a_stop_string_ends_the_text_before_it(served: Served) -> None:
    [[whole]] = served.generate(solving()[:1])
    stop = whole.text[len(whole.text) // 2 :][:4]
    prompt = solve_prompt(PROBLEMS[0].question)
    for request in (
        GenerationRequest(prompt, max_tokens=200, stop=(stop, "never there")),
        GenerationRequest(Prompt(prompt.messages, prompt.assistant_prefix, "v", (stop,)), max_tokens=200),
    ):
        [[cut]] = served.generate([request])
        assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


def test_limits_bound_the_text(served: Served, reference: TransformersEngine) -> None:
    short, wide, long = (
        GenerationRequest(solve_prompt(PROBLEMS[0].question), max_tokens=5),
        GenerationRequest(solve_prompt(PROBLEMS[0].question), max_tokens=100_000),
        GenerationRequest(Prompt((Message("user", "7 " * 3000),), "", "v"), max_tokens=5),
    )
    [[cut], [free], [none]] = served.generate([short, wide, long])
    assert (cut.completion_tokens, cut.finish_reason) == (5, "length")
    assert free.text == reference.generate([wide])[0][0].text
    assert (none.text, none.finish_reason, none.completion_tokens) == ("", "length", 0)


def test_a_reply_without_a_prefix_and_one_that_opens_with_spaces(served: Served, reference: TransformersEngine) -> None:
    question = PROBLEMS[1].question
    prompts = [
        Prompt((Message("user", question),), "", "v"),
        Prompt((Message("user", question),), "Step 1: ", "v"),
        Prompt((Message("system", "Be brief."), Message("user", question)), "Step", "v"),
    ]
    requests = [GenerationRequest(prompt, max_tokens=30) for prompt in prompts]
    assert [c.text for [c] in served.generate(requests)] == [c.text for [c] in reference.generate(requests)]


def test_cancelling_ends_a_batch_and_the_next_is_answered(served: Served, reference: TransformersEngine) -> None:
    long = [GenerationRequest(r.prompt, n=8, temperature=1.5, max_tokens=800, seed=r.seed) for r in solving()] * 4
    count = itertools.count()
    with pytest.raises(Cancelled):
        served.generate(long, lambda: next(count) > 1)
    requests = solving()[:2]
    assert [c.text for [c] in served.generate(requests)] == [c.text for [c] in reference.generate(requests)]


def test_the_meter_moves_before_the_batch_is_done(served: Served) -> None:
    long = [GenerationRequest(r.prompt, n=8, temperature=1.5, max_tokens=800, seed=r.seed) for r in solving()] * 8
    journal, stop, ended = Journal(), threading.Event(), list[type[Exception]]()
    journal.meter.expect(8 * len(long))

    def ask() -> None:
        try:
            served.generate(long, stop.is_set, journal)
        except Cancelled as error:
            ended.append(type(error))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        until(lambda: (journal.meter.snapshot() or {}).get("completion"), "the first tokens", START_SECONDS)
    finally:
        stop.set()
        asking.join(60)
    told = journal.meter.snapshot()
    assert told is not None
    assert 0 < told["share"] < 1
    assert ended == [Cancelled], "it was told amid the batch"


def test_the_journal_tells_engine_version_and_capabilities(served: Served) -> None:
    journal = Journal()
    served.generate(solving(temperature=1.0)[:1], journal=journal)
    assert journal.engine == served.model.engine
    assert journal.capabilities is not None
    assert journal.capabilities.assistant_prefix
    assert journal.capabilities.per_request_seed
    assert any(character.isdigit() for character in str(journal.version))
    assert (journal.fallbacks, journal.retried) == (set(), {})


def test_an_entry_that_cannot_be_served_is_named(served: Served, tmp_path: Path) -> None:
    config = {**served.model.config, "model" if "base_url" in served.model.config else "path": str(tmp_path / "gone")}
    with pytest.raises(EngineError, match="gone") as caught:
        served.pool.generate(ModelSpec("gone", served.model.engine, config), solving()[:1])
    assert not caught.value.retryable


def test_who_listens_hears_the_texts_grow(served: Served) -> None:
    asked = replace(solving(temperature=1.0, max_tokens=120)[0], n=2)
    [expected] = served.generate([asked])
    heard: list[Text] = []
    [found] = served.pool.generate(served.model, [asked], hear=heard.extend)
    assert [c.text for c in found] == [c.text for c in expected]
    for request, sample, text in heard:
        assert request == 0
        assert found[sample].text.startswith(text.rstrip("\ufffd"))


def test_a_text_that_is_no_chat_goes_on_as_it_stands(served: Served, reference: TransformersEngine) -> None:
    asked = [GenerationRequest(Prompt((), text, "text"), max_tokens=12) for text in ("Step 1: 3 + 4 = ", "Step")]
    theirs, ours = served.generate(asked), reference.generate(asked)
    assert [(c.text, c.prompt_tokens) for [c] in theirs] == [(c.text, c.prompt_tokens) for [c] in ours]
