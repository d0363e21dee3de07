"""Steps: a truth table of texts and their steps, and properties that hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.steps import offered_span, separator, splice, split_steps
from errata.types import Domain

PREFIX = "Let's think step by step.\n"

# (text, its steps)
TABLE: list[tuple[str, list[str]]] = [
    # "Step k:" labels
    ("Step 1: a", ["Step 1: a"]),
    ("Step 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"]),
    (PREFIX + "Step 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"]),
    (PREFIX + "Step 1: a\n\nStep 2: b\n", ["Step 1: a\n\n", "Step 2: b\n"]),
    ("Step 1. a\nStep 2. b", ["Step 1. a\n", "Step 2. b"]),
    ("Step 1) a\nStep 2) b", ["Step 1) a\n", "Step 2) b"]),
    ("step 1: a\nSTEP 2: b", ["step 1: a\n", "STEP 2: b"]),
    ("## Step 1: a\ntext\n## Step 2: b", ["## Step 1: a\ntext\n", "## Step 2: b"]),
    ("### Step 1: a\n### Step 2: b\n", ["### Step 1: a\n", "### Step 2: b\n"]),
    ("**Step 1:** a\n**Step 2:** b", ["**Step 1:** a\n", "**Step 2:** b"]),
    ("Step 10: a\nStep 11: b", ["Step 10: a\n", "Step 11: b"]),
    ("  Step 1: a\n  Step 2: b", ["  Step 1: a\n", "  Step 2: b"]),
    ("Step 1: as in Step 2: no cut here\nStep 2: b", ["Step 1: as in Step 2: no cut here\n", "Step 2: b"]),
    ("Step 1: a\nline two\nStep 2: b", ["Step 1: a\nline two\n", "Step 2: b"]),
    ("Step 1: 1. x\n2. y\nStep 2: b", ["Step 1: 1. x\n2. y\n", "Step 2: b"]),
    ("Step 1: a\n```\nStep 9: inside\n```\nStep 2: b", ["Step 1: a\n```\nStep 9: inside\n```\n", "Step 2: b"]),
    ("Step 1: $$\nStep 5: x\n$$\nStep 2: b", ["Step 1: $$\nStep 5: x\n$$\n", "Step 2: b"]),
    ("Intro line.\nMore intro.\nStep 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"]),
    ("The first step 1: is no label", ["The first step 1: is no label"]),
    # numbered lists
    ("1. a\n2. b", ["1. a\n", "2. b"]),
    ("1) a\n2) b\n3) c", ["1) a\n", "2) b\n", "3) c"]),
    ("Here:\n1. a\n2. b\n", ["1. a\n", "2. b\n"]),
    ("**1.** a\n**2.** b", ["**1.** a\n", "**2.** b"]),
    ("1. a\nmore\n2. b", ["1. a\nmore\n", "2. b"]),
    ("1. a\n\n2. b", ["1. a\n\n", "2. b"]),
    ("2. a\n3. b", ["2. a\n", "3. b"]),  # not counted from 1: lines
    ("1. only one item", ["1. only one item"]),
    ("1.5 litres\n2.5 litres", ["1.5 litres\n", "2.5 litres"]),
    ("1. a\n3. not the next\n2. b", ["1. a\n3. not the next\n", "2. b"]),
    # paragraphs
    ("a\n\nb", ["a\n\n", "b"]),
    ("a\n\n\n\nb", ["a\n\n\n\n", "b"]),
    ("a\nb\n\nc", ["a\nb\n\n", "c"]),
    ("a\n \nb", ["a\n \n", "b"]),
    ("a\n\nb\n\nc\n", ["a\n\n", "b\n\n", "c\n"]),
    ("a\n\n$$\nx\n\ny\n$$\n\nb", ["a\n\n", "$$\nx\n\ny\n$$\n\n", "b"]),
    ("a\n\n\\[\nx\n\ny\n\\]\n\nb", ["a\n\n", "\\[\nx\n\ny\n\\]\n\n", "b"]),
    ("a\n\n\\begin{align}\nx\n\ny\n\\end{align}\n\nb", ["a\n\n", "\\begin{align}\nx\n\ny\n\\end{align}\n\n", "b"]),
    # lines
    ("a\nb", ["a\n", "b"]),
    ("a\nb\n", ["a\n", "b\n"]),
    ("a\n  b\nc", ["a\n", "  b\n", "c"]),
    (
        "48/2 = <<48/2=24>>24\n48+24 = <<48+24=72>>72\nA: 72",
        ["48/2 = <<48/2=24>>24\n", "48+24 = <<48+24=72>>72\n", "A: 72"],
    ),
    ("x = 1\n#### 1", ["x = 1\n", "#### 1"]),
    ("a\n$$\nx = 1\n$$\nb", ["a\n", "$$\nx = 1\n$$\n", "b"]),
    ("a\n```\nx\ny\n```", ["a\n", "```\nx\ny\n```"]),
    ("- a\n- b", ["- a\n", "- b"]),
    ("\n\na\nb", ["a\n", "b"]),
    # sentences
    ("One sentence.", ["One sentence."]),
    ("A is 1. B is 2.", ["A is 1. ", "B is 2."]),
    ("It costs $2.50. So 4 cost $10.", ["It costs $2.50. ", "So 4 cost $10."]),
    ("Is it? Yes! Good.", ["Is it? ", "Yes! ", "Good."]),
    ("Mr. Smith has 2. He buys 3.", ["Mr. Smith has 2. ", "He buys 3."]),
    ("We use e.g. Apples. Then b.", ["We use e.g. Apples. ", "Then b."]),
    ("Anna B. Lee has 2. She eats 1.", ["Anna B. Lee has 2. ", "She eats 1."]),
    ("It is 3.5 and 4.5 long", ["It is 3.5 and 4.5 long"]),
    ('He said "go." Then he went.', ['He said "go." ', "Then he went."]),
    ("So x = 2.  Thus $y$ = 3.", ["So x = 2.  ", "Thus $y$ = 3."]),
    ("a. b is lower case. c too", ["a. b is lower case. c too"]),
    ("It is <<1+1=2>>2. Next.", ["It is <<1+1=2>>2. ", "Next."]),
    ("First. \\(x\\) is 2.", ["First. ", "\\(x\\) is 2."]),
    # nothing, or almost
    ("", []),
    ("   \n ", []),
    ("x", ["x"]),
    ("  x  ", ["x  "]),
    ("\nx\n", ["x\n"]),
]

# (step body, whether it only states the answer)
ANSWERS: list[tuple[str, bool]] = [
    ("A: 18", True),
    ("#### 72", True),
    ("The answer is 5.", True),
    ("The answer is \\boxed{5}.", True),
    ("The final answer is 5 apples.", True),
    ("So the answer is 12.", True),
    ("Therefore, the answer is $12.", True),
    ("Thus the final answer is \\boxed{3+4}.", True),
    ("Answer: 7", True),
    ("**Answer:** 7", True),
    ("\\boxed{7}", True),
    ("$\\boxed{7}$", True),
    ("The answer is 3 + 4 = 7.", False),
    ("So the answer is 48/2 = 24.", False),
    ("She has 7 apples.", False),
    ("A train travels 3 hours.", False),
    ("Tom sells 4 * 5 = \\boxed{20} pens.", False),
    ("An answer is needed.", False),
]


def _texts(text: str, domain: Domain = Domain.MATH) -> list[str]:
    return [text[step.start : step.end] for step in split_steps(text, domain)]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_table_of_steps(text: str, expected: list[str]) -> None:
    assert _texts(text) == expected


@pytest.mark.parametrize(("body", "answer"), ANSWERS)
def test_steps_that_only_state_the_answer(body: str, answer: bool) -> None:
    text = f"Step 1: First 1 + 1 = 2.\nStep 2: {body}"
    assert split_steps(text)[1].is_answer is answer


def test_labels_are_not_part_of_the_body() -> None:
    text = PREFIX + "Step 1: a\n## Step 2: b\n**Step 3:** c"
    assert [text[s.body_start : s.end] for s in split_steps(text)] == ["a\n", "b\n", "c"]


def test_code_steps_are_the_lines_of_the_last_block() -> None:
    code = "def f(n):\n    if n < 0:\n        return 0\n\n    return n\n"
    text = f"Plan:\n```python\nx = 0\n```\nBetter:\n```python\n{code}```\nDone."
    steps = split_steps(text, Domain.CODE)
    *lines, tail = (text[s.body_start : s.end] for s in steps)
    assert lines == ["def f(n):\n", "if n < 0:\n", "return 0\n\n", "return n\n"]
    assert (tail, steps[-1].is_answer) == ("```\nDone.", True)


def test_code_is_the_block_the_verifier_reads_and_none_of_its_lines_a_mere_answer() -> None:
    text = "```python\ndef f(n):\n    answer: int = n\n    return answer\n```\nOutput:\n```text\n3\n```\n"
    *lines, tail = split_steps(text, Domain.CODE)
    assert [text[s.body_start : s.end] for s in lines] == ["def f(n):\n", "answer: int = n\n", "return answer\n"]
    assert not any(line.is_answer for line in lines)
    assert text[tail.start :].startswith("```\nOutput")


def test_a_long_step_offers_its_last_sentences() -> None:
    text = "Step 1: One is 1. Two is 2. Three is 3. Four is 4. Five is 5."
    [step] = split_steps(text)
    start, end = offered_span(text, step, 4)
    assert text[start:end] == "Two is 2. Three is 3. Four is 4. Five is 5."
    assert offered_span(text, step, 9) == (step.body_start, step.end)


pieces = st.sampled_from(
    [
        "Step 1: ",
        "Step 2: ",
        "\nStep 3:",
        "\n",
        "\n\n",
        "1. ",
        "\n2. ",
        "a = 2. ",
        "B",
        " ",
        "```",
        "$$",
        "<<1=1>>",
        "é",
        "\t",
    ]
)
texts = st.one_of(st.text(max_size=200), st.lists(pieces, max_size=40).map("".join))


@given(texts)
def test_preamble_and_steps_joined_give_the_text_back(text: str) -> None:
    steps = split_steps(text)
    if steps:
        assert text[: steps[0].start] + "".join(_texts(text)) == text
        assert all(step.start <= step.body_start <= step.end for step in steps)
        assert [step.index for step in steps] == list(range(len(steps)))
    else:
        assert not text.strip()


@given(texts, st.data(), st.text(max_size=40))
def test_splicing_one_step_changes_only_that_one(text: str, data: st.DataObject, new: str) -> None:
    steps = split_steps(text)
    if not steps:
        return
    step = data.draw(st.sampled_from(steps))
    spliced = splice(text, step, new)
    assert spliced[: step.start] == text[: step.start]
    assert spliced[step.start : step.start + len(new)] == new
    assert spliced[step.start + len(new) :] == text[step.end :]


@given(texts)
def test_a_steps_separator_is_its_trailing_space(text: str) -> None:
    for piece in _texts(text):
        assert piece == piece.rstrip() + separator(piece)
