"""Steps as models write them: labels of other languages and forms, lists, titles, tables, mathematics, thoughts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.steps import split_steps
from errata.types import Domain

# (text, its steps)
TABLE: list[tuple[str, list[str]]] = [
    # labels
    ("## Step 1\nWe add.\n\n## Step 2\nWe halve.", ["## Step 1\nWe add.\n\n", "## Step 2\nWe halve."]),
    ("### Step 1 - Add\n1+1=2\n### Step 2 - Halve\n2/2=1", ["### Step 1 - Add\n1+1=2\n", "### Step 2 - Halve\n2/2=1"]),
    ("**Step 1: Add**\n1+1=2\n\n**Step 2: Halve**\n2/2=1", ["**Step 1: Add**\n1+1=2\n\n", "**Step 2: Halve**\n2/2=1"]),
    ("**Step 1**: a\n**Step 2**: b", ["**Step 1**: a\n", "**Step 2**: b"]),
    ("- Step 1: a\n- Step 2: b", ["- Step 1: a\n", "- Step 2: b"]),
    ("Step One: a\nStep Two: b", ["Step One: a\n", "Step Two: b"]),
    ("\\textbf{Step 1:} a\n\\textbf{Step 2:} b", ["\\textbf{Step 1:} a\n", "\\textbf{Step 2:} b"]),
    ("步骤1：先算。\n步骤2：27 − 2 = 25。", ["步骤1：先算。\n", "步骤2：27 − 2 = 25。"]),
    ("第一步：9×3=27\n第二步：27-2=25", ["第一步：9×3=27\n", "第二步：27-2=25"]),
    ("Étape 1 : a\nÉtape 2 : b", ["Étape 1 : a\n", "Étape 2 : b"]),
    ("Schritt 1: a\nSchritt 2: b", ["Schritt 1: a\n", "Schritt 2: b"]),
    ("Paso 1: a\nPaso 2: b", ["Paso 1: a\n", "Paso 2: b"]),
    ("Шаг 1. a\nШаг 2. b", ["Шаг 1. a\n", "Шаг 2. b"]),
    ("Step 1.5 is none\nStep 2.5 neither", ["Step 1.5 is none\n", "Step 2.5 neither"]),
    ("Step two people aside.\nThen one.", ["Step two people aside.\n", "Then one."]),
    # lists
    ("(1) a\n(2) b", ["(1) a\n", "(2) b"]),
    ("① a\n②b\n③ c", ["① a\n", "②b\n", "③ c"]),
    ("1、先算\n2、再算", ["1、先算\n", "2、再算"]),
    ("### 1. Add\n1+1=2\n### 2. Halve\n2/2=1", ["### 1. Add\n1+1=2\n", "### 2. Halve\n2/2=1"]),
    ("1. a\n   1. x\n   2. y\n2. b", ["1. a\n   1. x\n   2. y\n", "2. b"]),
    ("1. a\n   - x\n   - y\n2. b", ["1. a\n   - x\n   - y\n", "2. b"]),
    ("First, we add.\n\n1+1=2\n\nSecond, we halve.", ["First, we add.\n\n1+1=2\n\n", "Second, we halve."]),
    ("- a\n  - x\n  - y\n- b", ["- a\n  - x\n  - y\n", "- b"]),
    ("- Total:\n  - 3+4=7\n  - 7*2=14", ["- Total:\n", "  - 3+4=7\n", "  - 7*2=14"]),
    # what follows the last label
    ("Step 1: a\nStep 2: b\nThe answer is 5.", ["Step 1: a\n", "Step 2: b\n", "The answer is 5."]),
    ("Step 1: a\nStep 2: b\n#### 18", ["Step 1: a\n", "Step 2: b\n", "#### 18"]),
    ("Step 1: a\n\nStep 2: b\n\n## Check\n5+5=10", ["Step 1: a\n\n", "Step 2: b\n\n", "## Check\n5+5=10"]),
    ("Step 1: a\nStep 2: We add:\n3+4=7", ["Step 1: a\n", "Step 2: We add:\n3+4=7"]),
    ("Step 1: a\nStep 2: a sum,\nand more", ["Step 1: a\n", "Step 2: a sum,\nand more"]),
    (
        "Step 1: a\n\nx\n\nStep 2: b\n\ny\n\n### Final Answer\n\n7",
        ["Step 1: a\n\nx\n\n", "Step 2: b\n\ny\n\n", "### Final Answer\n\n7"],
    ),
    ("Step 1: a\n---\nStep 2: b\n---\nSo 7.", ["Step 1: a\n---\n", "Step 2: b\n", "---\nSo 7."]),
    ("1. a\n2. b\n\nSo there are 7.", ["1. a\n", "2. b\n\n", "So there are 7."]),
    # titles
    ("### Add\n\n1+1=2\n\n### Halve\n\n2/2=1", ["### Add\n\n1+1=2\n\n", "### Halve\n\n2/2=1"]),
    ("**Add**\n1+1=2\n**Halve**\n2/2=1", ["**Add**\n1+1=2\n", "**Halve**\n2/2=1"]),
    # tables, mathematics, lines that go on
    ("Prices:\n| a | b |\n|---|---|\n| 1 | 2 |\nSo 3.", ["Prices:\n| a | b |\n|---|---|\n| 1 | 2 |\n", "So 3."]),
    (
        "We get\n\\begin{aligned}\nx &= 1 \\\\\n\ny &= 2\n\\end{aligned}\nDone.",
        ["We get\n", "\\begin{aligned}\nx &= 1 \\\\\n\ny &= 2\n\\end{aligned}\n", "Done."],
    ),
    (
        "A\n\n\\begin{align*}\n\\begin{cases}\na\n\n\\end{cases}\n\n\\end{align*}\n\nB",
        ["A\n\n", "\\begin{align*}\n\\begin{cases}\na\n\n\\end{cases}\n\n\\end{align*}\n\n", "B"],
    ),
    ("There are $27 \\cdot\n5 = 135$ cats.\nHence 135.", ["There are $27 \\cdot\n5 = 135$ cats.\n", "Hence 135."]),
    ("The sum of the\nsides is $7.$ Thus $x=7.$", ["The sum of the\nsides is $7.$ ", "Thus $x=7.$"]),
    ("It is \\[3+4=7.\\] Then it is 8.", ["It is \\[3+4=7.\\] ", "Then it is 8."]),
    # Chinese
    ("先算9×3=27。再算27-2=25。所以是25。", ["先算9×3=27。", "再算27-2=25。", "所以是25。"]),
    ("他说：“是9。”所以是9。", ["他说：“是9。”", "所以是9。"]),
]  # fmt: skip


def _texts(text: str, **options: object) -> list[str]:
    return [text[step.start : step.end] for step in split_steps(text, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_table_of_forms(text: str, expected: list[str]) -> None:
    assert _texts(text) == expected


def test_a_title_and_a_label_on_a_line_of_its_own_are_no_part_of_the_body() -> None:
    for text in ("## Step 1\nWe add.\n\n## Step 2\nWe halve.", "### Add\n\nWe add.\n\n### Halve\n\nWe halve."):
        assert [text[s.body_start : s.end].strip() for s in split_steps(text)] == ["We add.", "We halve."]


def test_a_titled_answer_behind_the_last_step_is_an_answer() -> None:
    text = "Step 1: 1 + 1 = 2.\n\nStep 2: 2 + 2 = 4.\n\n### Final Answer\n\n$\\boxed{4}$"
    assert [step.is_answer for step in split_steps(text)] == [False, False, True]


THOUGHTS: list[tuple[str, list[str], list[bool]]] = [
    ("<think>Step 1: x\n\nStep 2: y</think>\nA is 1. B is 2.", ["A is 1. ", "B is 2."], [False, False]),
    ("x\n\ny</think>\nStep 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"], [False, False]),
    (
        "Step 1: <think>hm 1+1=2</think>a\nStep 2: b",
        ["Step 1: ", "<think>hm 1+1=2</think>", "a\n", "Step 2: b"],
        [False, True, False, False],
    ),
    (
        "Step 1: a\n<think>Step 2: no\n</think>\nStep 2: b",
        ["Step 1: a\n", "<think>Step 2: no\n</think>\n", "Step 2: b"],
        [False, True, False],
    ),
    ("Step 1: a\n<think>never closed\nStep 2: no", ["Step 1: a\n", "<think>never closed\nStep 2: no"], [False, True]),
    ("<think>only this</think>\n", [], []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "steps", "thoughts"), THOUGHTS)
def test_nothing_inside_a_thought_is_a_step_to_edit(text: str, steps: list[str], thoughts: list[bool]) -> None:
    assert _texts(text) == steps
    assert [step.is_thought for step in split_steps(text)] == thoughts


def test_the_markers_of_thoughts_are_the_callers() -> None:
    text = "[T]Step 1: x[/T]\nStep 1: a\nStep 2: b"
    assert _texts(text, thoughts=[("[T]", "[/T]")]) == ["Step 1: a\n", "Step 2: b"]


pieces = st.sampled_from(
    [
        "<think>",
        "</think>",
        "Step 1: ",
        "\n## Step 2\n",
        "\n步骤3：",
        "\n1. ",
        "\n2) ",
        "\n① ",
        "\n**Title**\n",
        "\n---\n",
        "\n| a | b |",
        "\n- a",
        "\n  - b",
        "\n\n",
        "\n",
        " ",
        "。",
        "a. B",
        "\\[",
        "\\]",
        "\\begin{a}",
        "\\end{a}",
        "```",
        "$$",
        "<<1=1>>",
        "The answer is 5.",
        "#### 5",
        "3 + 4 = 7",
        "so on",
        "First, ",
        "\nSecond, ",
    ]
)


@given(st.lists(pieces, max_size=40).map("".join), st.sampled_from(list(Domain)))
def test_preamble_and_steps_joined_give_the_text_back(text: str, domain: Domain) -> None:
    steps = split_steps(text, domain)
    if not steps:
        return
    assert text[: steps[0].start] + "".join(text[s.start : s.end] for s in steps) == text
    assert all(step.start <= step.body_start <= step.end for step in steps)
    assert all(before.end == after.start for before, after in pairwise(steps))
    assert all(text[step.start : step.end].strip() for step in steps if domain is not Domain.CODE)
    inside = [step for step in steps if "<think>" in text[step.start : step.end]]
    assert all(step.is_thought for step in inside)
