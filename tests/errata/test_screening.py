"""Screening, replies and selection: truth tables, one row per trap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.config import ScreeningConfig, SelectionConfig
from errata.prompts import parse_reply
from errata.screening import distance, screen
from errata.selection import Sample, admits_mistake, label_suspect, select
from errata.steps import separator
from errata.types import Reason, Verdict

R = Reason
ORIGINAL = "Step 2: Tom pays 3 * 4 = 12 dollars.\n"
QUESTION = "Tom buys 3 pens at 4 dollars. How much does he pay?"
MARKED = "He pays 3*4 = $<<3*4=12>>12.\n"
BOXED = "Step 3: So he has \\boxed{12} left.\n"

# (original, edited, the reason it is rejected for or None)
TABLE: list[tuple[str, str, Reason | None]] = [
    # kept: one subtle change
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 13 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 3 + 4 = 12 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 3 * 5 = 12 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 4 * 4 = 12 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom earns 3 * 4 = 12 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 12 pounds.\n", None),
    (ORIGINAL, "Step 2: Ann pays 3 * 4 = 12 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 1.2 dollars.\n", None),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = -12 dollars.\n", None),
    (MARKED, "He pays 3*4 = $<<3*4=13>>13.\n", None),
    (MARKED, "He pays 3+4 = $<<3+4=12>>12.\n", None),
    (BOXED, "Step 3: So he has \\boxed{13} left.\n", None),
    # no change
    (ORIGINAL, ORIGINAL, R.NO_CHANGE),
    (ORIGINAL, "Step 2: Tom pays  3 * 4 = 12 dollars.\n", R.NO_CHANGE),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 12 dollars.", R.NO_CHANGE),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 12 dollars. \n", R.NO_CHANGE),
    (MARKED, MARKED, R.NO_CHANGE),
    # empty
    (ORIGINAL, "", R.EMPTY),
    (ORIGINAL, "  \n", R.EMPTY),
    # more or fewer steps
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 13 dollars.\nStep 3: Done.\n", R.ADDED_STEP),
    (ORIGINAL, "Step 2: Tom pays 13 dollars.\nHe is happy.\n", R.ADDED_STEP),
    (ORIGINAL, "Step 2: Tom pays 13 dollars.\n\nHe is happy.\n", R.ADDED_STEP),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 =\n13 dollars.\n", R.ADDED_STEP),
    ("Step 1: a = 1\nb = 2\n", "Step 1: a = 1 b = 3\n", R.ADDED_STEP),
    ("Step 1: a = 1\n\n", "Step 1: a = 2\n", R.ADDED_STEP),
    # says that it is an error
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 13 dollars (error).\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom wrongly pays; the wrong sum is 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 13 dollars, which is incorrect.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: By mistake Tom pays 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13 instead of 12 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13, it should be 12 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13, it should have been 12.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13 dollars (subtle error).\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13 dollars. Let me recheck.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Wait, Tom pays 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Tom pays 13 dollars. Correction: 12.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: I made 3 * 4 = 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Oops, Tom pays 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: I apologize, Tom pays 13 dollars.\n", R.ADMITS_ERROR),
    (ORIGINAL, "Step 2: Let's correct this: 13 dollars.\n", R.ADMITS_ERROR),
    # ... unless the original or the question says so too
    ("The error is 3 - 2 = 1.\n", "The error is 3 - 2 = 2.\n", None),
    ("He has 2 wrong answers.\n", "He has 3 wrong answers.\n", None),
    # broken format
    (BOXED, "Step 3: So he has 13 left.\n", R.BROKEN_FORMAT),
    (BOXED, "Step 3: So he has \\boxed{13 left.\n", R.BROKEN_FORMAT),
    (BOXED, "Step 3: So he has \\boxed{13} or \\boxed{12} left.\n", R.BROKEN_FORMAT),
    (ORIGINAL, "Step 2: Tom pays \\boxed{13} dollars.\n", R.BROKEN_FORMAT),
    (ORIGINAL, "Step 2: Tom pays 3 * 4 = 13} dollars.\n", R.BROKEN_FORMAT),
    (ORIGINAL, "Step 2: Tom pays {3 * 4 = 13 dollars.\n", R.BROKEN_FORMAT),
    (ORIGINAL, "Step 2: Tom pays ``` 13 dollars.\n", R.BROKEN_FORMAT),
    (MARKED, "He pays 3*4 = $<<3*4=13 13.\n", R.BROKEN_FORMAT),
    (MARKED, "He pays 3*4 = $3*4=13>>13.\n", R.BROKEN_FORMAT),
    ("x = \\frac{1}{2}\n", "x = \\frac{1}{2\n", R.BROKEN_FORMAT),
    ("x = \\frac{1}{2}\n", "x = \\frac{1}{3}\n", None),
    ("f(x) = {1, 2}\n", "f(x) = {1, 3}\n", None),
    # a mark and its text are edited together or not at all
    (MARKED, "He pays 3*4 = $<<3*4=12>>13.\n", R.MARK_MISMATCH),
    (MARKED, "He pays 3*4 = $<<3*4=13>>12.\n", R.MARK_MISMATCH),
    (MARKED, "He pays 3+4 = $<<3*4=12>>12.\n", R.MARK_MISMATCH),
    (MARKED, "He pays 3*4 = $<<3+4=12>>12.\n", R.MARK_MISMATCH),
    (MARKED, "He pays 3*5 = $<<3*5=12>>12.\n", None),
    ("He has <<1+1=2>>3 pens.\n", "He has <<1+1=2>>4 pens.\n", None),  # never agreed; such a step is not offered
    # order of reasons: what is empty or equal is said first
    ("The mistake.\n", "The mistake. \n", R.NO_CHANGE),
    (BOXED, "Step 3: \n", R.BROKEN_FORMAT),
    # units, signs, words
    ("It takes 2 hours.\n", "It takes 2 minutes.\n", None),
    ("He reads each day.\n", "He reads each week.\n", None),
    ("x \\times y = 6\n", "x \\div y = 6\n", None),
    ("50% of 10 is 5.\n", "50% of 10 is 6.\n", None),
    ("1,000 + 1 = 1,001\n", "1,000 + 1 = 1,011\n", None),
]


@pytest.mark.parametrize(("original", "edited", "reason"), TABLE)
def test_table_of_screening(original: str, edited: str, reason: Reason | None) -> None:
    result = screen(original, edited, QUESTION, ScreeningConfig())
    assert (result.reason, result.kept) == (reason, reason is None)


def test_words_of_the_question_admit_nothing() -> None:
    question = "Ann made a mistake and paid 3 + 4 = 8. How much is right?"
    result = screen("She paid 8.\n", "Ann made a mistake and paid 9.\n", question, ScreeningConfig())
    assert result.kept


@pytest.mark.parametrize(
    ("unit", "limit", "kept"),
    [("characters", 1, False), ("characters", 2, True), ("tokens", 1, False), ("tokens", 2, True)],
)
def test_distance_is_below_its_limit(unit: str, limit: int, kept: bool) -> None:
    config = ScreeningConfig(max_distance=limit, distance_unit=unit)  # type: ignore[arg-type]
    result = screen(ORIGINAL, ORIGINAL.replace("12", "13"), QUESTION, config)
    assert (result.kept, result.distance) == (kept, 1)
    assert result.reason is (None if kept else R.TOO_FAR)


def test_distance_units_differ() -> None:
    edited = ORIGINAL.replace("12", "3456")
    assert screen(ORIGINAL, edited, QUESTION, ScreeningConfig()).distance == 4
    assert screen(ORIGINAL, edited, QUESTION, ScreeningConfig(distance_unit="tokens")).distance == 1


def test_what_was_not_offered_must_stay() -> None:
    text = "One is 1. Two is 2.\n"
    config = ScreeningConfig()
    assert screen(text, "One is 1. Two is 3.\n", "", config, (10, 20)).kept
    assert screen(text, "One is 3. Two is 2.\n", "", config, (10, 20)).reason is R.LEFT_SPAN


def test_the_scripts_preset_screens_words_only() -> None:
    config = ScreeningConfig(structural=False)
    assert screen(ORIGINAL, "Step 2: 13.\nStep 3: Done.\n", QUESTION, config).kept
    assert screen(ORIGINAL, "Step 2: an error, 13.\n", QUESTION, config).reason is R.ADMITS_ERROR
    assert screen(ORIGINAL, ORIGINAL, QUESTION, config).reason is R.NO_CHANGE


short = st.text(alphabet="ab1", max_size=7)


def _slow(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(_slow(a[1:], b) + 1, _slow(a, b[1:]) + 1, _slow(a[1:], b[1:]) + (a[0] != b[0]))


@given(short, short)
def test_levenshtein_is_the_textbook_recursion(a: str, b: str) -> None:
    assert distance(a, b, "characters") == _slow(a, b)


STEP = "Step 2: Tom pays 12.\n\n"
# (completion, the edited step or the reason there is none)
REPLIES: list[tuple[str, str | Reason]] = [
    ("Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.\n", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.\n```", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.\n```\nI changed the number.", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.```", "Step 2: Tom pays 13.\n\n"),
    ("Step 2: Tom pays 13.\n```", "Step 2: Tom pays 13.\n\n"),
    ("step 2: Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("[2] Step 2: Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("[2] Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("**Step 2:** Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("```\nStep 2: Tom pays 13.\n```", "Step 2: Tom pays 13.\n\n"),
    ("```text\nTom pays 13.\n```\nDone", "Step 2: Tom pays 13.\n\n"),
    ("Here is the edited step:\n```\nStep 2: Tom pays 13.\n```", "Step 2: Tom pays 13.\n\n"),
    ("Sure, the edited step:\nTom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("  Tom pays 13.  ", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays Step 2: 13.", "Step 2: Tom pays Step 2: 13.\n\n"),
    ("Step 3: Tom pays 13.", "Step 2: Tom pays 13.\n\n"),
    ("```python\nTom pays 13.\n```", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.\n\n```\nTom pays 12.\n```", "Step 2: Tom pays 13.\n\n"),
    ("Tom pays 13.\nHe is glad.", "Step 2: Tom pays 13.\nHe is glad.\n\n"),
    (
        "Okay, here is the new step:\n\n```\n[2] Step 2: Tom pays 13.\n```\n\nNote: 12 became 13.",
        "Step 2: Tom pays 13.\n\n",
    ),
    ("", R.EMPTY),
    ("   \n\n", R.EMPTY),
    ("\n```", R.EMPTY),
    ("```\n```", R.EMPTY),
    ("Step 2: ", R.EMPTY),
]


@pytest.mark.parametrize(("completion", "expected"), REPLIES)
def test_table_of_replies(completion: str, expected: str | Reason) -> None:
    reply = parse_reply(completion, original_step=STEP, label="Step 2: ")
    assert (reply.text if reply.text is not None else reply.reason) == expected


@pytest.mark.parametrize(
    ("original", "label", "completion", "expected"),
    [
        ("2. Tom pays 12.\n", "2. ", "2. Tom pays 13.", "2. Tom pays 13.\n"),
        ("2. Tom pays 12.\n", "2. ", "Tom pays 13.", "2. Tom pays 13.\n"),
        ("    return n\n", "    ", "return n + 1", "    return n + 1\n"),
        ("    return n\n", "    ", "    return n + 1\n```", "    return n + 1\n"),
        ("Step 1: One. Two 2.\n", "Step 1: One. ", "Two 3.", "Step 1: One. Two 3.\n"),
        ("Step 1: One. Two 2.\n", "Step 1: One. ", "Step 1: One. Two 3.", "Step 1: One. Two 3.\n"),
        ("Step 1: a = 2\n", "", "Step 1: a = 3", "Step 1: a = 3\n"),  # the scripts' layout forces no label
        ("**Step 1:** a = 2\n", "**Step 1:** ", "**Step 1:** a = 3", "**Step 1:** a = 3\n"),
    ],
)
def test_labels_and_separators_are_the_originals(original: str, label: str, completion: str, expected: str) -> None:
    assert parse_reply(completion, original_step=original, label=label).text == expected


@given(st.text(max_size=80), st.sampled_from([("Step 2: x = 1.\n\n", "Step 2: "), ("x = 1", ""), ("1. x\n", "1. ")]))
def test_any_reply_is_read_or_refused(completion: str, step: tuple[str, str]) -> None:
    original, label = step
    reply = parse_reply(completion, original_step=original, label=label)
    assert (reply.text is None) != (reply.reason is None)
    if reply.text is not None:
        assert reply.text.startswith(label)
        assert separator(reply.text) == separator(original)


def test_a_step_without_a_label_gets_none() -> None:
    assert parse_reply("He pays 13.\n```", original_step="He pays 12.\n", label="").text == "He pays 13.\n"


ADMITTING = ["I made a mistake.", "Let's reconsider.", "Let me recalculate 3.", "Wait, no.", "This is wrong.", "Oops!"]
INNOCENT = ["They wait for 3 hours.", "She corrects 4 tests.", "He let us go.", "A sorry sight.", "3 + 4 = 7."]


@pytest.mark.parametrize("text", ADMITTING)
def test_admitting_texts_are_dropped(text: str) -> None:
    assert admits_mistake(text)
    assert not admits_mistake(text, question=f"Ann says: {text}")


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_texts_are_not(text: str) -> None:
    assert not admits_mistake(text)


def _samples(*verdicts: str) -> list[Sample]:
    code = {"c": Verdict.CORRECT, "i": Verdict.INCORRECT, "u": Verdict.UNPARSABLE, "t": Verdict.TIMEOUT}
    return [Sample(at, f"text {at}", code[v[0]], v[1:] or str(at)) for at, v in enumerate(verdicts)]


def test_one_of_each_is_drawn_and_every_other_has_a_reason() -> None:
    found = select(_samples("c", "c", "i", "u", "t"), SelectionConfig(), "q", 1)
    assert found.correct in (0, 1)
    assert found.incorrect == 2
    assert found.reasons == {1 - found.correct: R.NOT_DRAWN, 3: R.UNPARSABLE, 4: R.TIMEOUT}


@pytest.mark.parametrize(
    ("verdicts", "both", "reason"),
    [
        ("", False, R.NO_SAMPLES),
        ("iu", False, R.NO_CORRECT),
        ("cc", False, None),
        ("cc", True, R.NO_INCORRECT),
        ("ci", True, None),
    ],
)
def test_why_a_problem_is_dropped(verdicts: str, both: bool, reason: Reason | None) -> None:
    found = select(_samples(*verdicts), SelectionConfig(require_both=both), "q", 1)
    assert found.problem_reason is reason
    if reason:
        assert (found.correct, found.incorrect) == (None, None)
        assert len(found.reasons) == len(verdicts)


def test_samples_that_agree_against_gold_make_its_label_suspect() -> None:
    assert label_suspect(_samples("i7", "i7", "i7", "i7", "c"))
    assert not label_suspect(_samples("i7", "i7", "c", "c", "c"))
    assert not label_suspect(_samples("i7", "i8", "i9", "i6"))
    assert select(_samples("i7", "i7", "i7", "i7", "c"), SelectionConfig(), "q", 1).problem_reason is R.LABEL_SUSPECT


def test_the_draw_is_uniform_over_distinct_texts() -> None:
    same = [Sample(at, "same", Verdict.CORRECT, "1") for at in range(4)]
    samples = [*same, Sample(4, "other", Verdict.CORRECT, "1")]
    drawn = [select(samples, SelectionConfig(), "q", seed).correct for seed in range(1000)]
    assert {0, 4} == set(drawn)
    assert 450 < drawn.count(4) < 550
