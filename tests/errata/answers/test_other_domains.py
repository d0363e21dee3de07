"""Verifiers ``choice``, ``exact`` (JSON and grids with clues) and ``code``; comparing old verdicts with new ones."""

from __future__ import annotations

import json

import pytest

from errata.answers import CodeExecutionDisabled, Judgement, compare_verdicts, judge
from errata.answers.exact import BadClue, broken_clue
from errata.types import Domain, Problem, Verdict

CHOICES = {"A": "12", "B": "15 apples", "C": "a man", "D": "none of these"}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (r"\boxed{B}", Verdict.CORRECT),
        (r"\boxed{\text{B}}", Verdict.CORRECT),
        (r"\boxed{(B)}", Verdict.CORRECT),
        (r"\boxed{b}", Verdict.CORRECT),
        (r"\boxed{B) 15 apples}", Verdict.CORRECT),
        (r"\boxed{15 apples}", Verdict.CORRECT),
        ("The answer is (B).", Verdict.CORRECT),
        ("The answer is B. 15 apples", Verdict.CORRECT),
        ("Answer: B", Verdict.CORRECT),
        ("So the correct option is B", Verdict.CORRECT),
        ("I think of option A. But the correct answer is B.", Verdict.CORRECT),
        ("<think>The answer is A.</think> The answer is B.", Verdict.CORRECT),
        ("答案：B", Verdict.CORRECT),
        ("Answer:\n\n**B**", Verdict.CORRECT),
        (r"\boxed{A}", Verdict.INCORRECT),
        ("The answer is 12.", Verdict.INCORRECT),
        (r"\boxed{a man}", Verdict.INCORRECT),
        (r"\boxed{B) 12}", Verdict.UNPARSABLE),
        (r"\boxed{A and B}", Verdict.UNPARSABLE),
        (r"\boxed{A, B}", Verdict.UNPARSABLE),
        (r"\boxed{E}", Verdict.UNPARSABLE),
        (r"\boxed{99}", Verdict.UNPARSABLE),
        ("There were 15 apples.", Verdict.UNPARSABLE),
    ],
)
def test_choice(text: str, verdict: Verdict) -> None:
    problem = Problem("?", "B", meta={"choices": CHOICES})
    assert judge(problem, text, Domain.CHOICE).verdict is verdict


def test_choice_lists_of_texts_with_letters_in_them() -> None:
    problem = Problem("?", "B", meta={"choices": ["A)21", "B)21.5", "C)22"]})
    assert judge(problem, r"\boxed{21.5}", Domain.CHOICE).verdict is Verdict.CORRECT
    assert judge(problem, r"\boxed{A}", Domain.CHOICE).verdict is Verdict.INCORRECT


def test_choice_may_have_several_golds_and_a_pattern() -> None:
    problem = Problem("?", "B", meta={"choices": CHOICES, "golds": ["(C)"], "extract": r"PICK=([A-Z])"})
    assert judge(problem, "PICK=C", Domain.CHOICE).verdict is Verdict.CORRECT
    assert judge(problem, "PICK=B, not A", Domain.CHOICE).verdict is Verdict.CORRECT
    assert judge(problem, "PICK=A", Domain.CHOICE).verdict is Verdict.INCORRECT
    assert judge(problem, "The answer is B.", Domain.CHOICE).verdict is Verdict.UNPARSABLE
    faulty = Problem("?", "B", meta={"choices": CHOICES, "extract": "(a+)+"})
    assert judge(faulty, "The answer is B.", Domain.CHOICE).verdict is Verdict.UNPARSABLE


GRID = {"Ann": {"pet": "cat", "house": 1}, "Bob": {"pet": "dog", "house": 2}, "Cy": {"pet": "owl", "house": 3}}
CLUES = [
    {"kind": "is", "entity": "Ann", "attribute": "pet", "value": "cat", "text": "Ann has the cat."},
    {"kind": "is_not", "entity": "Bob", "attribute": "house", "value": 3},
    {"kind": "same", "a": ["pet", "dog"], "b": ["house", 2]},
    {"kind": "different", "a": ["pet", "owl"], "b": ["house", 1]},
    {"kind": "before", "a": ["pet", "cat"], "b": ["pet", "dog"], "by": "house"},
    {"kind": "next_to", "a": ["pet", "dog"], "b": ["pet", "owl"], "by": "house"},
    {"kind": "all_different", "attribute": "pet"},
]
PUZZLE = Problem("?", json.dumps(GRID), meta={"clues": CLUES})


def _grid(**pets: str) -> str:
    rows = {name: {**row, "pet": pets.get(name, row["pet"])} for name, row in GRID.items()}
    return json.dumps(rows)


@pytest.mark.parametrize(
    ("text", "verdict", "report"),
    [
        (rf"\boxed{{{_grid()}}}", Verdict.CORRECT, ""),
        (f"So:\n```json\n{_grid()}\n```", Verdict.CORRECT, ""),
        (f"The grid is {_grid()}", Verdict.CORRECT, ""),
        (_grid().replace("Ann", "ANN").replace("cat", " Cat "), Verdict.CORRECT, ""),
        (_grid().replace('"house": 2', '"house": "2"'), Verdict.CORRECT, ""),
        (_grid(Ann="dog", Bob="cat"), Verdict.INCORRECT, "breaks clue 1: Ann has the cat."),
        (_grid(Bob="owl", Cy="dog"), Verdict.INCORRECT, "breaks clue 3"),
        (_grid(Ann="dog"), Verdict.INCORRECT, "other entities"),
        (_grid().replace("Cy", "Di"), Verdict.INCORRECT, "other entities"),
        ('{"Ann": {"pet": "cat", "pet": "dog"}}', Verdict.UNPARSABLE, "a key occurs twice"),
        ('{"Ann": NaN}', Verdict.UNPARSABLE, "not JSON"),
        ('{"Ann": ' + "9" * 200 + "}", Verdict.UNPARSABLE, "not JSON"),
        ('{"a":' * 300 + "1" + "}" * 300, Verdict.UNPARSABLE, "too deeply nested"),
        ("I give up.", Verdict.UNPARSABLE, "no final answer"),
    ],
)
def test_grid(text: str, verdict: Verdict, report: str) -> None:
    judged = judge(PUZZLE, text, Domain.LOGIC)
    assert judged.verdict is verdict
    assert report in judged.report


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ('{"a": [1, 2]}', '{"a": [1, 2.0]}', Verdict.CORRECT),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', Verdict.INCORRECT),
        ('{"a": true}', '{"a": "true"}', Verdict.CORRECT),
        ('{"a": 1}', '{"a": 1, "b": 2}', Verdict.INCORRECT),
        ("the red house", "The  Red house", Verdict.CORRECT),
        ("the red house", "the blue house", Verdict.INCORRECT),
    ],
)
def test_exact(gold: str, answer: str, verdict: Verdict) -> None:
    assert judge(Problem("?", gold), rf"\boxed{{{answer}}}", Domain.LOGIC).verdict is verdict


def test_a_malformed_clue_is_the_problem_sets_fault() -> None:
    with pytest.raises(BadClue):
        broken_clue([{"kind": "unheard of"}], GRID)
    problem = Problem("?", json.dumps(GRID), meta={"clues": [{"kind": "is"}]})
    assert judge(problem, _grid(), Domain.LOGIC).verdict is Verdict.UNPARSABLE


CODE = Problem("?", "", meta={"tests": ["assert inc(1) == 2", "assert inc(-1) == 0"]})


def _fenced(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```\n"


@pytest.mark.parametrize(
    ("code", "verdict", "report"),
    [
        ("def inc(x):\n    return x + 1", Verdict.CORRECT, "2 tests passed"),
        ("def inc(x):\n    return 2", Verdict.INCORRECT, "test 2"),
        ("def inc(x) return", Verdict.UNPARSABLE, "SyntaxError"),
        ("import os\nos._exit(0)", Verdict.INCORRECT, ""),
        ("raise SystemExit(0)", Verdict.INCORRECT, "SystemExit"),
        ("x = bytearray(10**12)", Verdict.TIMEOUT, "memory"),
        ("import os\nassert os.getuid() != 0\nraise KeyError(len(os.environ))", Verdict.INCORRECT, "KeyError: 2"),
        (
            "from math import comb\nimport itertools, re, collections\ndef inc(x): return x + comb(2, 2)",
            Verdict.CORRECT,
            "",
        ),
    ],
)
def test_code(code: str, verdict: Verdict, report: str) -> None:
    judged = judge(CODE, _fenced(code), Domain.CODE, allow_code=True)
    assert judged.verdict is verdict, judged
    assert report in judged.report


def test_code_cannot_write_outside_its_scratch_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("outside") / "canary"
    target.parent.chmod(0o777)
    code = f"open('note', 'w').write('fine')\nopen({str(target)!r}, 'w').write('not fine')"
    assert judge(CODE, _fenced(code), Domain.CODE, allow_code=True).verdict is Verdict.INCORRECT
    assert not target.exists()


def test_endless_code_is_a_timeout() -> None:
    judged = judge(CODE, _fenced("while True: pass"), Domain.CODE, allow_code=True)
    assert judged.verdict is Verdict.TIMEOUT


def test_code_is_off_by_default() -> None:
    with pytest.raises(CodeExecutionDisabled):
        judge(CODE, _fenced("def inc(x): return x + 1"), Domain.CODE)


def test_rejudging_gives_a_diff() -> None:
    def made(verdict: Verdict, extracted: str | None, version: str = "1") -> Judgement:
        return Judgement(verdict, extracted, f"math/{version}")

    stored = {
        "a": made(Verdict.CORRECT, "5"),
        "b": made(Verdict.INCORRECT, "6"),
        "c": made(Verdict.UNPARSABLE, None),
        "d": made(Verdict.CORRECT, "1"),
    }
    new = {
        "a": made(Verdict.CORRECT, "5", "2"),
        "b": made(Verdict.CORRECT, "6", "2"),
        "c": made(Verdict.UNPARSABLE, "7", "2"),
        "e": made(Verdict.CORRECT, "1", "2"),
    }
    changes = compare_verdicts(stored, new)
    assert [(change.key, change.before.verdict, change.after.verdict) for change in changes] == [
        ("b", Verdict.INCORRECT, Verdict.CORRECT),
        ("c", Verdict.UNPARSABLE, Verdict.UNPARSABLE),
    ]
