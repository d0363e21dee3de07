"""Budgets for thoughts, and thoughts kept or left out: a model that thinks as long as it is let."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from errata.thoughts import after_thoughts, open_thought
from models.jobs import SolutionRow
from tests.workers.injection_jobs import PROBLEMS, run_job
from workers.engines.base import Completion, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp
from workers.runner import Services

MODEL = {"engine": "transformers", "config": {"path": "/scripted"}}
ANSWER = "Step 1: It is 3 + 4 = 7. Step 2: The answer is \\boxed{7}."


class Thinker:
    """Writes ``words`` words of thought and an answer; a token is a word. ``marked``: its thought opens by a marker.

    It continues what it is given: a thought that is closed already is followed by the answer.
    """

    def __init__(self, words: int, *, marked: bool = True) -> None:
        self.words, self.marked = words, marked
        self.requests: list[GenerationRequest] = []

    def close(self) -> None:
        """Nothing to end."""

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        self.requests += requests
        return [[self._text(request) for _ in range(request.n)] for request in requests]

    def _text(self, request: GenerationRequest) -> Completion:
        given = request.prompt.assistant_prefix
        whole = f"{'<think> ' * self.marked}{'hm ' * self.words}</think> {ANSWER}"
        if "</think>" in given:
            behind = given.partition("</think>")[2].split()
            whole = " ".join(ANSWER.split()[len(behind) :])
        words = whole.split(" ")
        cut = len(words) > request.max_tokens
        return Completion(
            " ".join(words[: request.max_tokens]), "length" if cut else "stop", 10, min(len(words), request.max_tokens)
        )


def sampled(services: Services, thinker: Thinker, **thoughts: object) -> list[SolutionRow]:
    sampling = {"source": "model", "samples": 1, "opening": "none", "max_tokens": 60}
    run_job(replace(services, engines=thinker), "full-only", model=MODEL, sampling=sampling, thoughts=thoughts)
    with services.db.read() as session:
        return list(session.scalars(select(SolutionRow).order_by(SolutionRow.problem_id)))


@pytest.mark.parametrize("marked", [True, False])
def test_a_thought_that_reaches_its_budget_is_closed_and_the_answer_asked_on(services: Services, marked: bool) -> None:
    thinker = Thinker(500, marked=marked)
    rows = sampled(services, thinker, budget=8)
    assert len(rows) == PROBLEMS
    for row in rows:
        thought, closing, answer = row.text.partition("\n</think>\n\n")
        assert closing
        assert thought.split()[-1] == "hm"
        assert answer == ANSWER
        assert (row.finish_reason, row.extracted) == ("stop", "7")
        assert row.completion_tokens == 8 + len(ANSWER.split())
        assert row.prompt_tokens == 20, "the prompt of both parts"
    first, rest = thinker.requests[0], next(r for r in thinker.requests if "</think>" in r.prompt.assistant_prefix)
    assert (first.max_tokens, rest.max_tokens) == (8, 52)
    assert rest.prompt.messages == first.prompt.messages
    assert rest.seed in {r.seed for r in thinker.requests if not r.prompt.assistant_prefix}


def test_an_answer_that_the_budget_cut_goes_on_where_it_was_cut(services: Services) -> None:
    rows = sampled(services, Thinker(3), budget=9)
    assert {row.text for row in rows} == {
        f"<think> hm hm hm </think> {' '.join(ANSWER.split()[:4])}" + " ".join(ANSWER.split()[4:])
    }
    assert {row.finish_reason for row in rows} == {"stop"}


def test_what_ends_within_its_budget_is_asked_once(services: Services) -> None:
    thinker = Thinker(3)
    rows = sampled(services, thinker, budget=50)
    assert {row.text for row in rows} == {f"<think> hm hm hm </think> {ANSWER}"}
    assert not [request for request in thinker.requests if request.prompt.assistant_prefix]


def test_without_a_budget_a_thought_may_take_all(services: Services) -> None:
    rows = sampled(services, Thinker(500))
    assert {(row.finish_reason, row.extracted) for row in rows} == {("length", None)}


def test_thoughts_that_are_not_kept_are_no_part_of_the_solution(services: Services) -> None:
    assert {row.text for row in sampled(services, Thinker(3), keep=False)} == {ANSWER}


def test_a_sample_of_thoughts_alone_stays_to_say_so(services: Services) -> None:
    rows = sampled(services, Thinker(500), keep=False)
    assert all(row.text.startswith("<think> hm") for row in rows)


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        ("<think> a", "</think>"),
        ("<think> a </think> b", None),
        ("a </think> b", None),
        ("a", "</think>"),
        ("<think>a</think> b <thinking> c", "</thinking>"),
    ],
)
def test_the_marker_that_closes_an_open_thought(text: str, closing: str | None) -> None:
    assert open_thought(text) == closing


def test_what_stands_behind_thoughts() -> None:
    assert after_thoughts("<think>a</think>\n\nb\n") == "b"
    assert after_thoughts(" b\n") == " b\n"
    assert after_thoughts("<think>a") == ""
