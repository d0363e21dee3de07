"""Error kinds of the operator's own: data that is checked, used only where a job names it, and never code."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from errata.config import resolve
from errata.injection import plan_edits
from errata.kinds import kinds_of, replace_custom
from errata.kinds.custom import CustomKind, load_kinds
from errata.kinds.registry import OPERATORS_BODY
from errata.prompts import edit_prompt
from errata.steps import split_steps
from errata.types import Domain, Problem
from models.settings import StoreSettings

UNIT = {
    "name": "wrong_unit",
    "instruction": "Convert one quantity of this step with a wrong factor.",
    "applies_when": r"\b(?:hours|minutes)\b",
    "check": "contradiction",
}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    replace_custom([])


def _file(folder: Path, entries: Any) -> Path:
    path = folder / "kinds.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries), encoding="utf-8")
    return path


def test_a_kind_is_used_where_a_job_names_it(tmp_path: Path) -> None:
    before = set(kinds_of(Domain.MATH))
    StoreSettings(ERRATA_KINDS_FILE=_file(tmp_path, [UNIT])).register_kinds()
    assert set(kinds_of(Domain.MATH)) - before == {"wrong_unit"}
    assert "wrong_unit" not in kinds_of(Domain.LOGIC)
    solution = (
        "Step 1: It takes 2 hours, so 2 * 60 = 120 minutes.\nStep 2: Then 120 + 5 = 125.\nStep 3: So \\boxed{125}."
    )
    steps, problem = split_steps(solution), Problem("How long?", "125")

    def plan(**editing: Any) -> list[str]:
        config = resolve("errata", {"editing": editing})
        return [str(edit) for edit in plan_edits(solution, steps, config, Domain.MATH, 0, problem).edits]

    own = plan(kinds={"wrong_unit": 1.0})
    assert len(own) == 1
    assert "wrong_unit" in own[0]
    assert not any("wrong_unit" in edit for edit in plan())
    assert plan(kinds={"wrong_unit": 1.0}, editor="rules") == []
    prompt = edit_prompt(problem.question, solution, steps, 0, "wrong_unit")
    assert UNIT["instruction"] in prompt.messages[0].content


def test_the_version_is_that_of_the_content() -> None:
    one = CustomKind.model_validate(UNIT)
    assert one.version == CustomKind.model_validate(dict(reversed(UNIT.items()))).version
    assert one.kind().version == one.version
    for change in ({"instruction": UNIT["instruction"] + "!"}, {"check": "identity"}, {"applies_when": "x"}):
        assert CustomKind.model_validate({**UNIT, **change}).version != one.version


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ("[{", "cannot be read as JSON"),
        ({}, "JSON list"),
        ([UNIT] * 51, "JSON list"),
        ([UNIT, UNIT], "two kinds are named 'wrong_unit'"),
        ([{**UNIT, "name": "Wrong unit"}], "entry 0.name"),
        ([UNIT, {**UNIT, "name": "other", "run": "import os"}], "entry 1.run: Extra inputs are not permitted"),
        ([{k: v for k, v in UNIT.items() if k != "check"}], "entry 0.check: Field required"),
        ([{**UNIT, "check": "unproven"}], "entry 0.check"),
        ([{**UNIT, "check": "verifier"}], "check 'verifier' proves nothing in domain 'math'"),
        ([{**UNIT, "domains": ["code"]}], "check 'contradiction' proves nothing in domain 'code'"),
        ([{**UNIT, "domains": []}], "entry 0.domains"),
        ([{**UNIT, "instruction": "Change\none number."}], "is one line"),
        ([{**UNIT, "applies_when": "("}], "is no regular expression"),
        ([{**UNIT, "applies_when": "(a+)+b"}], "repeats a group"),
    ],
)
def test_a_fault_in_the_file_names_the_entry(tmp_path: Path, entries: Any, told: str) -> None:
    path = _file(tmp_path, entries)
    with pytest.raises(ValueError, match=r"kinds\.json") as raised:
        load_kinds(path)
    assert told in str(raised.value)
    with pytest.raises(ValidationError, match="ERRATA_KINDS_FILE"):
        StoreSettings(ERRATA_KINDS_FILE=path)


def test_a_file_that_is_not_there_and_a_name_that_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_kinds(tmp_path / "none.json")
    settings = StoreSettings(ERRATA_KINDS_FILE=_file(tmp_path, [{**UNIT, "name": "operator"}]))
    with pytest.raises(ValueError, match="has a kind 'operator' already"):
        settings.register_kinds()


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "(a|a)*$", "(?:a|b)+", "(x{1,9}){1,9}", r"\d+\s*=\s*\d+", ".*.*", "a{2,}b*", "(?=a)", r"(a)\1",
        "(?i)a",
        "a**",
        "(a*)*", "x{0,200}y{0,200}", "(?P<n>a)", "[", "(" * 60 + "a+" + ")+" * 60,
    ],
)  # fmt: skip
def test_expressions_that_may_take_long_are_refused(pattern: str) -> None:
    with pytest.raises(ValidationError, match="applies_when"):
        CustomKind.model_validate({**UNIT, "applies_when": pattern})


@pytest.mark.parametrize(
    "pattern",
    [".", "=", r"\d+", r"\d{1,9}\s{0,9}=", r"\b(?:hours|days)\b", "[+*?(]{1,3}", r"a\+\+b", "(ab)?c", "[^]a+]+"],
)
def test_plain_expressions_are_taken_and_fast(pattern: str) -> None:
    kind = CustomKind.model_validate({**UNIT, "applies_when": pattern}).kind()
    for text in ("1" * 100_000, " " * 100_000, "a" * 100_000, "+" * 100_000):
        started = time.process_time()
        kind.applies(text)
        assert time.process_time() - started < 2.0
    assert OPERATORS_BODY < 100_000
