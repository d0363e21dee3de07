"""docs/method.md tells the truth: its worked example runs, and it names every kind, preset and evidence there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from errata.config import PRESETS, ScreeningConfig, resolve
from errata.injection import plan_edits
from errata.kinds import Site, kinds_of
from errata.proof import Outcome, prove_edit
from errata.screening import screen
from errata.steps import split_steps
from errata.types import Domain, EvidenceKind, Problem, Reason

ROOT = Path(__file__).resolve().parents[2]
PROBLEM = Problem("Janet's ducks lay 16 eggs per day. She eats three, bakes with four, sells the rest at $2.", "18")


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "method.md").read_text(encoding="utf-8")


def _block(page: str, language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", page, re.S)
    return str(found).rstrip("\n")


def test_the_worked_example_is_what_the_code_does(page: str) -> None:
    solution = _block(page, "solution")
    steps = split_steps(solution)
    assert len(steps) == 3
    plan = plan_edits(solution, steps, resolve("rules"), Domain.MATH, 0, PROBLEM)
    assert [edit.step for edit in plan.edits] == [0, 1]
    assert plan.skipped == {2: Reason.ANSWER_STEP}
    diff = _block(page, "diff").splitlines()
    assert "\n".join(line[1:] for line in diff if line[0] != "+") == solution[: steps[1].end].rstrip("\n")
    [edited] = [line[1:] + "\n" for line in diff if line[0] == "+"]
    original = solution[steps[1].start : steps[1].end]
    assert edited in kinds_of(Domain.MATH)["operator"].twin(Site(solution, steps, 1, PROBLEM), 50, None)
    screening = screen(original, edited, PROBLEM.question, ScreeningConfig())
    assert (screening.kept, screening.distance) == (True, 1)
    proof = prove_edit(original, edited)
    assert proof.outcome is Outcome.PROVEN
    told = json.loads(_block(page, "json"))
    assert told.pop("kind") == proof.evidence.kind
    assert told == {name: proof.evidence.detail[name] for name in told}


def test_every_kind_preset_and_evidence_is_named(page: str) -> None:
    names = {name for domain in Domain for name in kinds_of(domain)} | set(PRESETS) | {str(e) for e in EvidenceKind}
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_file_named_exists(page: str) -> None:
    named = set(re.findall(r"`((?:errata|workers)/[\w./]+)`", page))
    assert len(named) > 10
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_table_of_choices_says_what_the_presets_hold(page: str) -> None:
    config = {name: resolve(name) for name in ("paper", "scripts", "errata")}
    assert f"K = {config['paper'].sampling.samples}" in page
    assert f"we set {config['paper'].screening.max_distance} characters" in page
    ours = config["errata"]
    assert f"{ours.sampling.samples} at temperature {ours.sampling.temperature}" in page
    assert f"temperature {ours.editing.temperature}, up to {ours.editing.attempts} attempts" in page
    answers = {"yes": True, "no": False}
    for label, values in {
        "structural screening": [c.screening.structural for c in config.values()],
        "`\\boxed{}` stripped from the rejected side": [c.screening.strip_boxed_from_rejected for c in config.values()],
        "steps already false dropped; labels checked": [c.selection.label_check for c in config.values()],
        "self-correcting solutions dropped": [c.selection.drop_admitting for c in config.values()],
    }.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| {label} |")]
        assert [answers[cell.strip().split(" ")[0]] for cell in row.split("|")[2:5]] == values
