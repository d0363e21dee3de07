"""The sentence that says why a job gave nothing: for every reason one, with the count it rests on and a way out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from errata.advice import ADVICE, LOW, advise
from errata.config import InjectionConfig
from errata.funnel import Funnel
from errata.types import Reason

PROBLEMS = (Reason.NO_SAMPLES, Reason.NO_INCORRECT, Reason.LABEL_SUSPECT)
UNREADABLE = (Reason.UNPARSABLE, Reason.CUT, Reason.NOTHING_WRITTEN, Reason.THOUGHTS_ONLY, Reason.TIMEOUT)
STEPS = (Reason.THOUGHT_STEP, Reason.ANSWER_STEP, Reason.NO_KIND, Reason.FALSE_STEP, Reason.OVER_QUOTA)
#: They follow from what became of the problem, so that no job fails by them alone.
CONSEQUENCES = (Reason.NO_CORRECT, Reason.NOT_DRAWN, Reason.PROBLEM_DROPPED)
EDITS = tuple(r for r in Reason if r not in (*PROBLEMS, *UNREADABLE, *STEPS, *CONSEQUENCES, Reason.ADMITS_MISTAKE))


def funnel(kept: int = 20, steps: int = 60, edits: int = 40, pairs: int = 40) -> Funnel:
    """Twenty problems with two samples each; what is missing at a link is for the caller to explain."""
    told = Funnel().add("problems", "total", count=20).add("problems", "kept", count=kept)
    told.add("samples", "total", count=40).add("samples", "verdicts", "correct", count=2 * kept)
    told.add("steps", "total", count=steps).add("steps", "edited", count=edits).add("edits", "total", count=edits)
    if pairs:
        told.add("edits", "proven", "contradiction", count=pairs)
        told.add("pairs", "total", count=pairs).add("pairs", "by_type", "step", count=pairs)
    return told.add_tokens("sample", 100, 4000)


def unsolved(**samples: int) -> Funnel:
    told = funnel(kept=0, steps=0, edits=0, pairs=0).add("problems", "dropped", Reason.NO_CORRECT, count=20)
    for name, count in samples.items():
        told.add("samples", *(("verdicts", name) if name == "incorrect" else ("unused", name)), count=count)
    return told


def failing_by(reason: Reason) -> Funnel:
    """A funnel in which 13 inputs of this reason's level are lost to it, and nothing comes of the job."""
    if reason in PROBLEMS:
        return funnel(0, 0, 0, 0).add("problems", "dropped", reason, count=13)
    if reason in UNREADABLE:
        return unsolved(**{str(reason): 13, "incorrect": 7})
    if reason is Reason.ADMITS_MISTAKE:
        return unsolved(**{str(reason): 13, "incorrect": 7}).add("samples", "verdicts", "correct", count=13)
    if reason in STEPS:
        return funnel(edits=0, pairs=0).add("steps", "skipped", reason, count=13)
    if reason is Reason.NOT_CHOSEN:
        told = funnel(pairs=0).add("edits", "proven", "contradiction", count=40)
        return told.add("edits", "rejected", reason, count=13)
    return funnel(pairs=0).add("edits", "rejected", reason, count=13)


@pytest.mark.parametrize("reason", [*PROBLEMS, *UNREADABLE, Reason.ADMITS_MISTAKE, *STEPS, *EDITS], ids=str)
def test_every_reason_that_empties_a_job_is_told_with_its_count(reason: Reason) -> None:
    told = advise(failing_by(reason).counts)
    assert told is not None
    assert re.match(r"13 of \d+ (problems|samples|steps|edits|proven edits) ", told)
    assert told.endswith(f"{ADVICE[reason].what}: {ADVICE[reason].remedy}.")


def test_no_reason_lacks_a_sentence() -> None:
    assert set(ADVICE) == set(Reason)
    assert all(told.what and told.remedy and not told.remedy.endswith(".") for told in ADVICE.values())


def _settings(model: type[BaseModel], above: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(above + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= _settings(field.annotation, f"{above}{name}.")
    return found


def test_every_setting_that_is_named_exists() -> None:
    named = {name for told in ADVICE.values() for name in re.findall(r"\b[a-z_]+(?:\.[a-z_]+)+\b", told.remedy)}
    assert len(named) > 10
    assert named <= _settings(InjectionConfig)


def test_no_correct_sample_is_said_as_such() -> None:
    told = advise(unsolved(incorrect=30, unparsable_answer=10).counts)
    assert told is not None
    assert told.startswith("No sample was correct: try easier problems, few-shot examples")
    assert told.count(". ") == 0, "one sentence"


def test_of_brought_solutions_nobody_is_told_to_sample_more() -> None:
    told = unsolved(incorrect=40)
    told.counts["tokens"] = {}
    assert str(advise(told.counts)).startswith("No solution was correct: check the gold answers")


def test_of_unreadable_samples_the_most_frequent_reason_is_told() -> None:
    told = advise(unsolved(cut_at_limit=12, unparsable_answer=9, thoughts_only=3, incorrect=16).counts)
    assert told == f"12 of 40 samples were cut at their limit of tokens: {ADVICE[Reason.CUT].remedy}."


def test_announced_errors_are_told_beside_what_did_become_a_pair() -> None:
    told = funnel(pairs=3).add("edits", "rejected", Reason.ADMITS_ERROR, count=25)
    told.add("edits", "rejected", Reason.UNPROVEN, count=12)
    assert str(advise(told.counts)).startswith("25 of 40 edits announced the error: show the model examples")


def test_the_link_that_lets_the_least_through_is_the_cause() -> None:
    told = funnel(kept=1, steps=4, edits=4, pairs=1).add("problems", "dropped", Reason.NO_CORRECT, count=19)
    told.add("edits", "rejected", Reason.NO_CHANGE, count=3).add("samples", "verdicts", "incorrect", count=38)
    assert str(advise(told.counts)).startswith("19 of 20 problems have no correct solution")


@pytest.mark.parametrize("pairs", [2, 20, 40])
def test_a_yield_that_is_not_low_needs_no_advice(pairs: int) -> None:
    edits: dict[str, Any] = {"steps": 20, "edits": 20} if pairs == 2 else {}
    assert pairs >= LOW * 20
    assert advise(funnel(pairs=pairs, **edits).counts) is None


def test_a_job_of_full_pairs_alone_lacks_wrong_solutions() -> None:
    told = funnel(steps=0, edits=0, pairs=0).add("problems", "dropped", Reason.NO_CORRECT, count=0)
    assert str(advise(told.counts)).startswith("20 of 20 problems were kept, with 0 incorrect solutions")
    few = funnel(kept=15, steps=0, edits=0, pairs=0).add("problems", "dropped", Reason.NO_CORRECT, count=5)
    assert str(advise(few.counts)).startswith("15 of 20 problems were kept")


def test_a_job_without_problems() -> None:
    assert str(advise(Funnel().counts)).startswith("No problem was worked on")
