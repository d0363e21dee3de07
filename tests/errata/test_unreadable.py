"""Why a sample is unreadable, and what thoughts do to verdicts, selection and the profile."""

from __future__ import annotations

import pytest

from errata.answers import ReadingOptions, judge
from errata.calculations import calculations
from errata.config import InjectionConfig, SelectionConfig
from errata.injection import plan_edits
from errata.prompts import SOLVE_PREFIX
from errata.selection import Sample, select, unreadable
from errata.steps import split_steps
from errata.types import Domain, Problem, Reason, Verdict

ROWS: list[tuple[str, str | None, str | None, Reason]] = [
    ("", None, "stop", Reason.NOTHING_WRITTEN),
    (SOLVE_PREFIX, None, "stop", Reason.NOTHING_WRITTEN),
    (SOLVE_PREFIX + "We add 3 and", None, "length", Reason.CUT),
    (SOLVE_PREFIX + "<think>hm", None, "length", Reason.CUT),
    (SOLVE_PREFIX + "<think>hm</think>\n", None, "stop", Reason.THOUGHTS_ONLY),
    ("<think>hm</think>", None, None, Reason.THOUGHTS_ONLY),
    ("It is some number.", None, "stop", Reason.UNPARSABLE),
    ("The answer is \\foo{.", "\\foo{", "length", Reason.UNPARSABLE),
]


@pytest.mark.parametrize(("text", "extracted", "finish_reason", "reason"), ROWS)
def test_why_a_sample_is_unreadable(
    text: str, extracted: str | None, finish_reason: str | None, reason: Reason
) -> None:
    sample = Sample(0, text, Verdict.UNPARSABLE, extracted, finish_reason)
    assert unreadable(sample) is reason
    assert select([sample], SelectionConfig(), "q").reasons == {0: reason}


def test_a_mistake_that_a_thought_admits_is_none_of_the_solutions() -> None:
    text = "<think>Wait, this is wrong.</think>\nStep 1: 3 + 4 = 7.\nA: 7"
    assert select([Sample(0, text, Verdict.CORRECT, "7")], SelectionConfig(), "q").correct == 0
    others = select([Sample(0, text, Verdict.CORRECT, "7")], SelectionConfig(), "q", thoughts=[("[T]", "[/T]")])
    assert others.reasons[0] is Reason.ADMITS_MISTAKE


def test_thoughts_are_offered_only_where_the_job_says_so() -> None:
    text = "Step 1: 3 + 4 = 7.\n<think>\nStep 2: 2 * 4 = 8.\n</think>\nStep 3: 7 + 8 = 15."
    for offer, offered in ((False, {"3 + 4", "7 + 8"}), (True, {"3 + 4", "2 * 4", "7 + 8"})):
        config = InjectionConfig.model_validate({"editing": {"editor": "rules"}, "thoughts": {"offer": offer}})
        steps = split_steps(text, thoughts=config.thoughts.in_steps)
        plan = plan_edits(text, steps, config, Domain.MATH, 0, Problem("?", "15"))
        edited = [text[steps[edit.step].start : steps[edit.step].end] for edit in plan.edits]
        assert {each for each in ("3 + 4", "2 * 4", "7 + 8") if any(each in step for step in edited)} == offered
        assert (Reason.THOUGHT_STEP in plan.skipped.values()) is not offer


def test_a_jobs_own_markers_hold_for_verdicts_steps_and_profile() -> None:
    config = InjectionConfig.model_validate({"thoughts": {"markers": [["[T]", "[/T]"]]}})
    text = "Step 1: 3 + 4 = 7. [T] The answer is 8. 2 + 6 = 8 [/T]\nThe answer is 7."
    options = ReadingOptions(thoughts=config.thoughts.markers)
    assert judge(Problem("?", "7"), text, Domain.MATH, options=options).verdict is Verdict.CORRECT
    assert [step.is_thought for step in split_steps(text, thoughts=config.thoughts.in_steps)] == [False, True, False]
    assert [c.result for c in calculations(text, config.thoughts.markers)] == [7]


@pytest.mark.parametrize("markers", [[["a", "a"]], [["", "b"]], [["a"]], [["a", "b"]] * 9])
def test_markers_that_cannot_be_are_refused(markers: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="markers"):
        InjectionConfig.model_validate({"thoughts": {"markers": markers}})
