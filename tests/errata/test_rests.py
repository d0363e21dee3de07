"""Rests: what follows a pair's step so that both sides end at an answer."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from errata.answers import extract_answer
from errata.rests import (
    Candidate,
    LeftOut,
    Rest,
    RestKind,
    RestSource,
    allowing_right_answers,
    chosen_rest,
    rest_candidates,
    settled_rest,
)
from errata.types import Domain, EvidenceKind, Form, Verdict

QUESTION = "Janet has 16 eggs, eats 3, bakes with 4 and sells the rest for $2 each. What does she make?"
STEPS = (
    "Step 1: She sells 16 - 3 - 4 = 9 eggs.\n",
    "Step 2: So she makes 9 * 2 = $18.\n",
    "The answer is \\boxed{18}.",
)
SOLUTION = "".join(STEPS)
START = len(STEPS[0])
SOURCE = RestSource(
    question=QUESTION,
    solution=SOLUTION,
    start=START,
    end=START + len(STEPS[1]),
    step=1,
    edited="Step 2: So she makes 9 * 3 = $27.\n",
    form=str(Form.CONSISTENT),
    error_kind="substitution",
    evidence=str(EvidenceKind.REPLAY),
)


def judged(source: RestSource, *verdicts: Verdict) -> Rest:
    return chosen_rest(source, list(zip(rest_candidates(source), verdicts, strict=True)))


def test_the_program_carries_the_error_to_the_answer() -> None:
    assert settled_rest(SOURCE) is None
    rest = judged(SOURCE, Verdict.INCORRECT)
    assert rest == Rest(RestKind.PROGRAM, STEPS[2], "The answer is \\boxed{27}.")
    assert extract_answer(SOURCE.before + rest.rejected) == "27"
    assert SOLUTION[: SOURCE.end] + rest.chosen == SOLUTION


def test_a_continuation_comes_where_the_program_knows_no_rest() -> None:
    """And the first of them with a wrong answer."""
    edited = "Step 2: So she loses everything.\n"
    told = ["It is \\boxed{18}.", "I do not know.", "It is \\boxed{0}.", "It is \\boxed{1}.", "It is \\boxed{0}."]
    source = replace(SOURCE, edited=edited, continuations=told)
    assert [each.text for each in rest_candidates(source)] == told[:4]
    verdicts = (Verdict.CORRECT, Verdict.UNPARSABLE, Verdict.INCORRECT, Verdict.INCORRECT)
    assert judged(source, *verdicts) == Rest(RestKind.CONTINUATION, STEPS[2], told[2])


def test_a_pair_without_a_wrong_answer_says_why() -> None:
    words = replace(SOURCE, edited="Step 2: So she loses everything.\n")
    assert judged(words) == Rest(None, STEPS[2], why=LeftOut.NO_REST)
    repaired = replace(words, continuations=["It is \\boxed{18}."])
    assert judged(repaired, Verdict.CORRECT).why is LeftOut.ANSWER_STAYS
    assert judged(repaired, Verdict.TIMEOUT).why is LeftOut.NO_REST
    stands = replace(
        SOURCE, edited="Step 2: So she makes 9 * 3 = $18.\n", form="stands", evidence=str(EvidenceKind.CONTRADICTION)
    )
    assert list(rest_candidates(stands)) == []
    left = judged(stands)
    assert left == Rest(None, STEPS[2], STEPS[2], LeftOut.ANSWER_STAYS)
    assert allowing_right_answers(left) == Rest(RestKind.STANDS, STEPS[2], STEPS[2])
    assert allowing_right_answers(judged(words)) == judged(words), "nothing follows an error in words"


def test_a_changed_result_that_stands_is_not_followed_by_the_old_one() -> None:
    """Behind "= $19" a rest that goes on with 18 would tell the sides apart."""
    source = replace(SOURCE, form="stands", error_kind="calculation", evidence=str(EvidenceKind.CONTRADICTION))
    assert chosen_rest(source, []).why is LeftOut.NO_REST


def test_the_last_step_needs_no_rest() -> None:
    whole = STEPS[0] + STEPS[1].replace("$18.", "\\boxed{18}.").rstrip()
    source = replace(SOURCE, solution=whole, end=len(whole), edited="Step 2: So she has \\boxed{7}.")
    [candidate] = rest_candidates(source)
    assert candidate == Candidate(RestKind.OWN, "")
    assert judged(source, Verdict.INCORRECT) == Rest(RestKind.OWN)


def test_what_needs_no_verdict() -> None:
    assert settled_rest(replace(SOURCE, cut=True)) == Rest(None, STEPS[2], why=LeftOut.CUT)
    whole = replace(SOURCE, given=("The answer is \\boxed{18}.", "no"), continuations=["no"])
    assert settled_rest(whole) == Rest(RestKind.CONTINUATION)
    assert settled_rest(replace(whole, continuations=[])) == Rest(RestKind.PROGRAM)
    code = replace(SOURCE, domain=Domain.CODE, evidence=str(EvidenceKind.VERIFIER))
    assert settled_rest(code) == Rest(RestKind.OWN, STEPS[2], STEPS[2])


@given(
    st.builds(
        Rest,
        st.one_of(st.none(), st.sampled_from(RestKind)),
        st.text(),
        st.text(),
        st.one_of(st.none(), st.sampled_from(LeftOut)),
    )
)
def test_a_stored_rest_is_read_as_it_was(rest: Rest) -> None:
    assert Rest.from_dict(rest.as_dict()) == rest
