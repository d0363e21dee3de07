"""Stage ``pair`` stores what follows each pair's step, judged: by program, by a continuation, or why there is none."""

from __future__ import annotations

import re

from sqlalchemy import select

from errata.answers import judge
from errata.prompts import SOLVE_VERSION
from errata.rests import Rest
from errata.types import Domain, Problem, Verdict
from models.jobs import EditRow, PairRow
from tests.workers.injection_jobs import Posted, pairs_of, run_job, sums
from tests.workers.scripted import MODEL
from tests.workers.test_continuations import ANY_KIND, WHOLE_STEPS, Propagating, continued
from workers.engines.base import GenerationRequest
from workers.runner import Services


def rest_of(pair: PairRow) -> Rest:
    assert pair.rest is not None
    return Rest.from_dict(pair.rest)


def wholes(pair: PairRow) -> tuple[str, str]:
    rest = rest_of(pair)
    return pair.prefix + pair.chosen + rest.chosen, pair.prefix + pair.rejected + rest.rejected


def ambiguous() -> list[Posted]:
    """The question repeats a result: no program can tell which of the two a later number is."""
    posted = []
    for each in sums():
        total = 99 - int(each.gold)
        posted.append(
            Posted(f"{each.question} (She paid with a note of {total} and coins.)", each.gold, each.solutions)
        )
    return posted


def test_consistent_edits_are_carried_to_a_wrong_answer(services: Services) -> None:
    run_job(services, "rules", editing={"form": {"consistent": 1.0}})
    pairs = pairs_of(services)
    right = {each.question: each for each in sums()}
    assert pairs
    for pair in pairs:
        posted, (chosen, rejected) = right[pair.question], wholes(pair)
        kind = rest_of(pair).kind
        assert chosen == posted.solutions[0]
        if kind is None:
            assert (pair.form, rest_of(pair).why) == ("stands", "answer_stays")
            continue
        assert kind == "program"
        problem = Problem(posted.question, posted.gold)
        assert judge(problem, rejected, Domain.MATH).verdict is Verdict.INCORRECT
        assert re.fullmatch(r".*\\boxed\{\d+\}\.", rejected, re.S)
    assert {rest_of(pair).kind for pair in pairs} >= {"program"}
    assert {rest_of(pair).kind for pair in pairs_of(services, "full")} == {"own"}


def test_a_continuation_that_ended_by_itself_is_the_rest_where_the_program_knows_none(services: Services) -> None:
    services.engines = Propagating()
    run_job(services, "errata", ambiguous(), model=MODEL, proof=continued(), editing=WHOLE_STEPS, screening=ANY_KIND)
    pairs = [pair for pair in pairs_of(services) if pair.evidence_kind == "divergence"]
    assert pairs
    with services.db.read() as session:
        edits = {edit.id: edit for edit in session.scalars(select(EditRow))}
    for pair in pairs:
        rest, stored = rest_of(pair), edits[str(pair.edit_id)].continuations
        assert stored is not None
        assert rest.kind == "continuation"
        assert rest.rejected == stored["edited"][0]
        assert stored["edited_finish"] == ["stop"] * 4


class Rambling(Propagating):
    """Its continuations reach their limit of tokens behind a wrong answer."""

    def _text(self, request: GenerationRequest) -> str | tuple[str, str]:  # type: ignore[override]
        text = super()._text(request)
        return (f"{text} Let me check that", "length") if request.prompt.version == SOLVE_VERSION else text


def test_a_continuation_that_was_cut_ends_no_pair(services: Services) -> None:
    services.engines = Rambling()
    run_job(services, "errata", ambiguous(), model=MODEL, proof=continued(), editing=WHOLE_STEPS, screening=ANY_KIND)
    pairs = [pair for pair in pairs_of(services) if pair.evidence_kind == "divergence"]
    assert pairs
    assert {rest_of(pair).why for pair in pairs} == {"no_rest"}


def test_dynamic_pairs_are_whole_already(services: Services) -> None:
    run_job(services, "rules", proof={"mode": "dynamic"})
    pairs = pairs_of(services)
    assert pairs
    for pair in pairs:
        assert rest_of(pair) == Rest.from_dict({"kind": "program"})
        assert wholes(pair)[1].rstrip(".").endswith("}")
