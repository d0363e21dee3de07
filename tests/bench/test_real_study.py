"""The study on a real model: what is stored is not done again, a limit leaves runs over, and figures are paired."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bench.real_study import figures, one, study

RIGHT = {"base": [1.0, 0.0, 0.0, 0.0], "sft": [1.0, 1.0, 0.0, 0.0], "steps": [1.0, 1.0, 1.0, 0.0]}


def result(rates: list[float]) -> dict[str, Any]:
    return {"training": None, "greedy": rates, "drawn": rates}


def stored(folder: Path, *names: str) -> argparse.Namespace:
    """The arguments of a study whose pairs and named runs are there already."""
    (folder / "pairs.json").write_text(json.dumps({"counts": {}}))
    for name in names:
        (folder / f"{name}.json").write_text(json.dumps(result(RIGHT[name.partition("-")[0]])))
    return argparse.Namespace(out=folder, arms=["sft", "steps"], seeds=2, workers=2, seconds=-1.0)


def test_what_is_stored_is_not_done_again(tmp_path: Path) -> None:
    args = stored(tmp_path, "base-0", "sft-0", "sft-1", "steps-0", "steps-1")
    found = study(args)
    assert found["unfinished"] == []
    assert set(found["arms"]) == {"base", "sft", "steps"}
    assert one(args, "sft", 1, until=time.monotonic() - 1) == result(RIGHT["sft"])


def test_a_limit_leaves_runs_over_and_an_arm_counts_with_all_of_its_seeds(tmp_path: Path) -> None:
    found = study(stored(tmp_path, "base-0", "sft-0", "sft-1", "steps-0"))
    assert found["unfinished"] == ["steps-1"]
    assert set(found["arms"]) == {"base", "sft"}


def test_differences_are_of_each_problems_mean_over_seeds() -> None:
    runs = {"base": [result(RIGHT["base"])], "sft": [result(RIGHT["sft"])],
            "steps": [result(RIGHT["steps"]), result(RIGHT["sft"])]}  # fmt: skip
    row = figures(runs)["steps"]["greedy"]
    assert row["mean"] == pytest.approx(0.625)
    assert row["seeds"] == [0.75, 0.5]
    assert row["to_base"]["delta"] == pytest.approx(0.375)
    assert row["to_sft"]["delta"] == pytest.approx(0.125)
    low, high = row["to_sft"]["interval"]
    assert low < 0 < 0.125 < high
    assert "to_sft" not in figures(runs)["sft"]["greedy"]
