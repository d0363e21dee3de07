"""Logic and code: rule-made twins of every kind, proven by the verifiers themselves."""

from __future__ import annotations

import json
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.answers import judge
from errata.config import ScreeningConfig, resolve
from errata.injection import plan_edits
from errata.json_cells import find_json
from errata.kinds import Site, kinds_of
from errata.proof import Outcome, prove_verifier
from errata.rule_edits import rule_edit
from errata.screening import screen
from errata.steps import splice, split_steps
from errata.types import Domain, EvidenceKind, Problem, Reason, Verdict

CLUES = [
    {"kind": "is", "entity": "Ann", "attribute": "house", "value": 2, "text": "Ann lives in the second house."},
    {"kind": "same", "a": ["pet", "cat"], "b": ["drink", "tea"], "text": "The cat's owner drinks tea."},
    {"kind": "before", "a": ["pet", "dog"], "b": ["pet", "cat"], "by": "house", "text": "The dog is left of the cat."},
    {"kind": "is_not", "entity": "Cy", "attribute": "drink", "value": "tea", "text": "Cy drinks no tea."},
    {"kind": "before", "a": ["drink", "milk"], "b": ["drink", "cola"], "by": "house", "text": "Milk is left of cola."},
    {"kind": "is", "entity": "Cy", "attribute": "house", "value": 3, "text": "Cy lives in the third house."},
]
GRID = {
    "Bob": {"house": 1, "pet": "dog", "drink": "milk"},
    "Ann": {"house": 2, "pet": "cat", "drink": "tea"},
    "Cy": {"house": 3, "pet": "fish", "drink": "cola"},
}
PUZZLE = Problem("Three neighbors ...", json.dumps(GRID), meta={"clues": CLUES})
BOXED = (
    "Let's think step by step.\nStep 1: Ann lives in the second house, Cy in the third, so Bob in the first.\n"
    "Step 2: The dog is left of the cat [clue 3].\nStep 3: The grid is \\boxed{" + json.dumps(GRID) + "}."
)
FENCED = "First the houses.\n\nThen the pets.\n\n```json\n" + json.dumps(GRID, indent=2) + "\n```\n"
ESCAPED = "So: \\boxed{" + json.dumps(GRID).replace("{", "\\{").replace("}", "\\}") + "}"
BARE = "Bob is first.\nHence:\n" + json.dumps(GRID, indent=1)


@pytest.mark.parametrize("solution", [BOXED, FENCED, ESCAPED, BARE])
@pytest.mark.parametrize("kind", ["entity", "constraint"])
def test_every_logic_edit_breaks_a_clue_and_nothing_else(solution: str, kind: str) -> None:
    steps = split_steps(solution, Domain.LOGIC)
    [index] = [step.index for step in steps if find_json(solution[step.start : step.end])]
    edits = kinds_of(Domain.LOGIC)[kind].twin(Site(solution, steps, index, PUZZLE), 50, None)
    assert len(edits) >= 3
    original = solution[steps[index].start : steps[index].end]
    for edit in edits:
        assert screen(original, edit, PUZZLE.question, ScreeningConfig()).kept
        judgement = judge(PUZZLE, splice(solution, steps[index], edit), Domain.LOGIC)
        assert judgement.verdict is Verdict.INCORRECT
        assert judgement.report.startswith("breaks clue")
        assert sorted(edit) == sorted(original)


@pytest.mark.parametrize(
    ("gold", "kinds"),
    [
        ('["Ann", "Bob", "Cy"]', {"entity", "constraint"}),
        ('{"Ann": "cat", "Bob": "dog"}', {"entity", "constraint"}),
        ('{"Ann": "cat"}', set()),
        ("[1, 1]", set()),
        ("7", set()),
    ],
)
def test_logic_answers_without_clues_are_edited_where_they_can_be_wrong(gold: str, kinds: set[str]) -> None:
    problem, solution = Problem("q", gold), f"So it is \\boxed{{{gold}}}."
    steps = split_steps(solution, Domain.LOGIC)
    site = Site(solution, steps, len(steps) - 1, problem)
    assert {kind.name for kind in kinds_of(Domain.LOGIC).values() if kind.twin(site, 1, None)} == kinds


def test_a_wrong_grid_is_not_edited() -> None:
    wrong = BOXED.replace('"cat"', '"x"').replace('"dog"', '"cat"').replace('"x"', '"dog"')
    steps = split_steps(wrong, Domain.LOGIC)
    assert plan_edits(wrong, steps, resolve("rules"), Domain.LOGIC, 0, PUZZLE).edits == ()


def test_reasoning_steps_of_a_puzzle_are_left_with_a_reason() -> None:
    steps = split_steps(BOXED, Domain.LOGIC)
    plan = plan_edits(BOXED, steps, resolve("rules"), Domain.LOGIC, 0, PUZZLE)
    assert [edit.step for edit in plan.edits] == [2]
    assert plan.skipped == {0: Reason.NO_KIND, 1: Reason.NO_KIND}


def test_the_clues_of_the_puzzle_leave_one_grid() -> None:
    """Otherwise a swap might land on another right answer; the twin would not offer it, and this test would not say."""
    right = 0
    for houses in permutations([1, 2, 3]):
        for pets in permutations(["dog", "cat", "fish"]):
            for drinks in permutations(["milk", "tea", "cola"]):
                rows = zip(GRID, houses, pets, drinks, strict=True)
                grid = {name: {"house": h, "pet": p, "drink": d} for name, h, p, d in rows}
                right += judge(PUZZLE, f"\\boxed{{{json.dumps(grid)}}}", Domain.LOGIC).verdict is Verdict.CORRECT
    assert right == 1


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        ("no json {here}", None),
        ("[1] and [2]", ["2"]),
        ('{"a": [1, {"b": null}]}', ["1", "null"]),
        ('\\boxed{"a": 1}', ["1"]),
        ('\\boxed{{"a": -1.5, "b": "x\\"y"}}', ["-1.5", '"x\\"y"']),
        ('{"a": 1,}', None),
        ('{"a" 1}', None),
        ("[1, 2", None),
        ("{}", None),
        ("[[]]", None),
        ("[" * 500, None),
        ("[" * 30 + "1" + "]" * 30, ["1"]),
    ],
)
def test_json_is_found_in_text(text: str, values: list[str] | None) -> None:
    found = find_json(text)
    assert (None if found is None else [text[cell.start : cell.end] for cell in found.values]) == values


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, min_size=1, max_size=3), st.sampled_from([None, 1, 2]))
def test_cells_are_the_leaves_that_json_has(value: list[object], indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    found = find_json(f"So {text}.")
    leaves = list(_leaves(value))
    if found is None:
        assert leaves == []
    else:
        assert [json.loads(f"So {text}."[cell.start : cell.end]) for cell in found.values] == leaves


def _leaves(value: object) -> list[object]:
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    return [value]


# (name, body, tests): small functions of which every line that can be wrong is tested
FUNCTIONS: list[tuple[str, str]] = [
    (
        "def count_above(values, limit):\n    total = 0\n    for value in values:\n        if value > limit:\n"
        "            total += 1\n    return total\n",
        "assert count_above([1, 5, 9], 4) == 2\nassert count_above([4, 4], 4) == 0\nassert count_above([], 1) == 0",
    ),
    (
        "def running(values):\n    sums = []\n    total = 0\n    for i in range(len(values)):\n"
        "        total = total + values[i]\n        sums.append(total)\n    return sums\n",
        "assert running([3, 4, 5]) == [3, 7, 12]\nassert running([]) == []",
    ),
    (
        "def search(items, wanted):\n    low, high = 0, len(items) - 1\n    while low <= high:\n"
        "        mid = (low + high) // 2\n        if items[mid] == wanted:\n            return mid\n"
        "        if items[mid] < wanted:\n            low = mid + 1\n        else:\n            high = mid - 1\n"
        "    return -1\n",
        "for n in range(6):\n    items = list(range(0, 2 * n, 2))\n    for at in range(-1, 2 * n + 1):\n"
        "        assert search(items, at) == (at // 2 if at in items else -1)",
    ),
    (
        "def safe_mean(values, default=0):\n    kept = [v for v in values if v is not None]\n"
        "    return sum(kept) / len(kept) if kept else default\n",
        "assert safe_mean([2, None, 4]) == 3\nassert safe_mean([], 7) == 7\nassert safe_mean([None]) == 0",
    ),
    (
        "def leap(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
        "assert [y for y in (1900, 1996, 2000, 2023, 2100, 2024) if leap(y)] == [1996, 2000, 2024]",
    ),
    (
        "def clamp_words(text, most):\n    words = text.split()\n    if len(words) <= most and most >= 0:\n"
        "        return text\n    return ' '.join(words[:max(most, 0)])\n",
        "assert clamp_words('a b c', 2) == 'a b'\nassert clamp_words('a b', 2) == 'a b'\n"
        "assert clamp_words('a  b', 2) == 'a  b'\nassert clamp_words('a b', -1) == clamp_words('', -1) == ''",
    ),
]


def _solution(code: str) -> str:
    return f"I write a loop.\n\n```python\n{code}```\nThat is all."


def test_code_kinds_all_occur_and_every_edit_is_another_program() -> None:
    seen: Counter[str] = Counter()
    for code, _tests in FUNCTIONS:
        solution = _solution(code)
        steps = split_steps(solution, Domain.CODE)
        for step in steps:
            for kind in kinds_of(Domain.CODE).values():
                for edit in kind.twin(Site(solution, steps, step.index, Problem("q", "")), 50, None):
                    whole = splice(solution, step, edit)
                    assert whole != solution
                    assert [s.index for s in split_steps(whole, Domain.CODE)] == [s.index for s in steps]
                    assert edit[: step.body_start - step.start] == solution[step.start : step.body_start]
                    seen[kind.name] += 1
    assert set(seen) == set(kinds_of(Domain.CODE))
    assert min(seen.values()) >= 4


@pytest.mark.parametrize(("code", "tests"), FUNCTIONS)
def test_code_edits_are_proven_by_failing_tests_or_rejected_with_a_reason(code: str, tests: str) -> None:
    problem, solution = Problem("Write a function.", "", meta={"tests": [tests]}), _solution(code)
    assert judge(problem, solution, Domain.CODE, allow_code=True).verdict is Verdict.CORRECT
    steps = split_steps(solution, Domain.CODE)
    plan = plan_edits(solution, steps, resolve("rules"), Domain.CODE, 3, problem)
    assert {edit.step for edit in plan.edits} | plan.skipped.keys() == {step.index for step in steps}
    proven = 0
    for index, kind in ((edit.step, edit.kind) for edit in plan.edits):
        edited = rule_edit(solution, steps, index, kind, 3, Domain.CODE, problem)
        assert edited is not None
        assert screen(solution[steps[index].start : steps[index].end], edited, "", ScreeningConfig()).kept
        judgement = judge(problem, splice(solution, steps[index], edited), Domain.CODE, allow_code=True)
        proof = prove_verifier(Verdict.CORRECT, judgement.verdict, judgement.report)
        if proof.outcome is Outcome.PROVEN:
            assert proof.evidence.kind is EvidenceKind.VERIFIER
            assert proof.evidence.detail["report"]
            proven += 1
        else:
            assert judgement.verdict in (Verdict.CORRECT, Verdict.TIMEOUT)
    assert proven >= len(plan.edits) / 2


def test_code_is_edited_where_its_kinds_say() -> None:
    code = "def f(values, limit=0):\n    kept = [v for v in values if v > limit]\n    return max(0, len(kept) - 1)\n"
    solution = _solution(code)
    steps = split_steps(solution, Domain.CODE)

    def made(index: int, kind: str) -> set[str]:
        edits = kinds_of(Domain.CODE)[kind].twin(Site(solution, steps, index, Problem("q", "")), 50, None)
        return {edit.strip() for edit in edits}

    assert made(1, "comparison") == {
        "kept = [v for v in values if v >= limit]",
        "kept = [v for v in values if v < limit]",
    }
    assert made(1, "dropped_guard") == {"kept = [v for v in values]"}
    assert made(2, "dropped_guard") == {"return (len(kept) - 1)"}
    assert made(2, "off_by_one") == {"return max(0, len(kept) - 2)", "return max(0, len(kept) - 0)"}
    assert made(2, "operator") == {"return max(0, len(kept) + 1)"}
    assert made(2, "wrong_variable") == {"return max(0, len(values) - 1)", "return max(0, len(limit) - 1)"}
    assert made(0, "wrong_variable") == set()


@pytest.mark.parametrize(
    "code",
    [
        "def broken(:\n    return 1\n",
        "x = '''é\nü = 3 > 2'''\ny = 1\n",
        "a = (1 +\n     2)\n",
        "    indented = 1 > 2\n",
    ],
)
def test_code_that_does_not_parse_or_spans_lines_is_survived(code: str) -> None:
    solution = _solution(code)
    steps = split_steps(solution, Domain.CODE)
    for step in steps:
        for kind in kinds_of(Domain.CODE).values():
            for edit in kind.twin(Site(solution, steps, step.index, Problem("q", "")), 50, None):
                assert "'''" not in solution or "y = " in edit


@given(st.text(alphabet="ab(=<+-1:\n é'[]", max_size=40))
def test_any_code_is_survived(code: str) -> None:
    solution = f"```python\n{code}\n```\n"
    steps = split_steps(solution, Domain.CODE)
    for step in steps:
        for kind in kinds_of(Domain.CODE).values():
            kind.twin(Site(solution, steps, step.index, Problem("q", "")), 5, None)
