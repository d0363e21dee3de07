"""``errata demo`` as people run it: the miniature's road, the untrained model's, and real solutions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from errata.kinds import kinds_of
from errata.types import Domain
from tests.processes import environment, errata

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
Result = dict[str, Any]

PROVEN = {"contradiction", "identity", "replay"}  # what proves an edit without a model


def run_demo(home: Path, *arguments: str) -> Result:
    """Run it to its end; the JSON of its last line."""
    done = errata("demo", "--json", *arguments, env=environment(home), timeout=850)
    assert done.returncode == 0, done.stderr
    assert "done in" in done.stderr, "progress was shown throughout"
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["dashboard"].startswith("http://127.0.0.1:")
    assert result["seconds"]["total"] > 0
    return result


def check_adds_up(funnel: Result) -> None:
    """The funnel's lines, counted here and not by the funnel's own code."""
    samples, edits, pairs = funnel["samples"], funnel["edits"], funnel["pairs"]
    assert sum(samples["verdicts"].values()) == samples["total"]
    assert sum(samples["drawn"].values()) + sum(samples["unused"].values()) == samples["total"]
    rejected = sum(count for reason, count in edits["rejected"].items() if reason != "not_chosen")
    assert rejected + sum(edits["proven"].values()) == edits["total"]
    assert sum(pairs["by_type"].values()) == pairs["total"]
    assert sum(pairs["by_kind"].values()) == sum(pairs["by_evidence"].values()) == pairs["by_type"].get("step", 0)


def test_the_whole_road_with_the_miniature(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--plan", "small")
    check_adds_up(result["funnel"])
    assert result["pairs"]["total"] > 0
    accuracy = result["accuracy"]
    for mode in ("greedy", "sampled"):
        sides = accuracy[mode]
        assert list(sides) == ["before", "after", "control", "step_nll"]
        for side in sides.values():
            assert 0 <= side["low"] <= side["accuracy"] <= side["high"] <= 1
        for role, other in [("after", "before"), ("after", "control"), ("control", "before"), ("step_nll", "control")]:
            change = sides[role][f"against_{other}"]
            assert change["low"] <= change["delta"] <= change["high"]
            assert change["delta"] == pytest.approx(sides[role]["accuracy"] - sides[other]["accuracy"])
    for role, best in accuracy["best"].items():
        assert accuracy["sampled"][role]["accuracy"] <= best["accuracy"] <= 1
        assert accuracy["sampled"][role]["accuracy"] <= accuracy["pass8"][role] <= 1
    assert f"{accuracy['best']['before']['accuracy']:.1%}" in accuracy["meaning"]
    rows = read_rows(Path(result["dataset"]))
    assert len(rows) == result["pairs"]["total"]
    assert {"start", "problems", "inject", "freeze", "dpo", "control", "step_nll", "evaluate"} <= set(result["seconds"])


@pytest.mark.long
def test_an_untrained_model_walks_the_same_road_to_an_empty_funnel(tmp_path: Path) -> None:
    result = run_demo(tmp_path, "--plan", "small", "--random-model")
    check_adds_up(result["funnel"])
    assert result["funnel"]["problems"]["dropped"] == {"no_correct_solution": 24}
    assert result["pairs"]["total"] == 0
    assert result["dataset"] is None
    assert " samples " in result["advice"] or result["advice"].startswith("No sample was correct: ")
    assert result["accuracy"]["greedy"]["before"]["accuracy"] == 0


def test_real_solutions_with_no_model(tmp_path: Path, shared_data: Path) -> None:
    result = run_demo(tmp_path, "--gsm8k", str(shared_data / "gsm8k" / "model-solutions-400.jsonl"))
    check_adds_up(result["funnel"])
    assert result["solutions"] == result["solutions_accounted"] == result["labels_agree"] == 1600
    assert result["labels_disagree"] == 0
    assert result["problems_solved"] == 263
    assert result["step_pair_share"] >= 0.95
    assert {"contradiction", "replay"} <= set(result["pairs"]["by_evidence"]) <= PROVEN
    # Rules write these kinds in ways that tell them apart, so each has at most 5 % of the steps (and a few more here by
    # the luck of the draw); what no audit tells apart fills the rest.
    capped = {name for name, kind in kinds_of(Domain.MATH).items() if kind.rule_share < 1}
    assert len(capped) >= 4
    assert max(share for kind, share in result["kind_shares"].items() if kind in capped) <= 0.07
    rows = read_rows(Path(result["dataset"]))
    assert len(rows) == result["pairs"]["total"]
    columns = {"question", "prefix", "chosen", "rejected", "step_index", "error_kind", "evidence", "source"}
    for row in rows:
        assert columns <= set(row)
        assert row["chosen"] != row["rejected"]
        if row["type"] == "step":
            assert row["error_kind"] is not None
            assert row["evidence"] in PROVEN


def test_flipping_every_label_changes_no_verdict(tmp_path: Path, shared_data: Path) -> None:
    source = (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    flipped = tmp_path / "flipped.jsonl"
    with flipped.open("w", encoding="utf-8") as out:
        for line in source:
            row = json.loads(line)
            for value in row.values():
                if isinstance(value, dict):
                    value["is_correct"] = not value["is_correct"]
            out.write(json.dumps(row) + "\n")
    same = tmp_path / "same.jsonl"
    same.write_text("\n".join(source), encoding="utf-8")
    true, false = (run_demo(tmp_path / file.stem, "--gsm8k", str(file)) for file in (same, flipped))
    assert (true["labels_agree"], true["labels_disagree"]) == (160, 0)
    assert (false["labels_agree"], false["labels_disagree"]) == (0, 160)
    assert true["funnel"]["samples"]["verdicts"] == false["funnel"]["samples"]["verdicts"]
    assert true["pairs"] == false["pairs"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--gsm8k", "nowhere.jsonl"], "there is no file nowhere.jsonl"),
        (["--plan", "huge"], "there is no plan 'huge'"),
        (["--server", "http://127.0.0.1:9"], "does not answer"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(tmp_path: Path, arguments: list[str], what: str) -> None:
    done = errata("demo", "--json", *arguments, env=environment(tmp_path))
    assert done.returncode == 1
    assert what in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"question": "1 + 1?", "ground_truth": "A: 2"}\n{"question": "no gold"}\n')
    done = errata("demo", "--gsm8k", str(file), env=environment(tmp_path / "home"))
    assert done.returncode == 1
    assert "line 2" in done.stderr


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Every row of the dataset's own configuration."""
    files = sorted((folder / "steps_and_full").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
