"""The plan of bench.reproduce: arms that a study takes, sets that share no problem, and the table it prints."""

from __future__ import annotations

import pytest

from bench.reproduce import FULL, Plan, problem_rows, table
from bench.reproduce_arms import ARMS, CONTROL, QUICK, arms_of
from errata.config import PRESETS, resolve
from errata.study_config import StudyConfig
from errata_client.study_records import Study
from workers.training.config import resolve as resolve_training


@pytest.mark.parametrize("plan", [Plan(), FULL])
def test_every_arm_is_one_that_a_study_takes(plan: Plan) -> None:
    arms, left_out = arms_of(plan.arms, PRESETS)
    assert left_out == []
    config = StudyConfig.model_validate(
        {"arms": arms, "control": CONTROL, "seeds": list(plan.seeds), "evaluation": plan.evaluation()}
    )
    assert {len(arm.trials) for arm in config.arms if arm.trains} == {2}
    for arm in (arm for arm in config.arms if arm.trains):
        injection = resolve(arm.preset, arm.config)
        assert injection.editing.fallback == (), f"{arm.name}: only the editor that the arm names edits"
        for trial in arm.trials:
            resolve_training(arm.training_preset, {**arm.training, **trial, "batch_size": 32, "max_steps": 48})


def test_arms_of_presets_that_are_not_there_are_left_out() -> None:
    arms, left_out = arms_of(QUICK, {name: each for name, each in PRESETS.items() if name != "mined"})
    assert left_out == ["mined"]
    assert [arm["name"] for arm in arms] == [name for name in QUICK if name != "mined"]
    with pytest.raises(ValueError, match="there is no arm 'x'; the arms are base"):
        arms_of(("x",), PRESETS)
    assert set(QUICK) <= set(ARMS)


def test_no_problem_stands_in_two_sets() -> None:
    plan = Plan(train=60, validation=60, test=60)
    sets = {name: problem_rows(name, plan) for name in ("train", "validation", "test")}
    questions = [row["question"] for rows in sets.values() for row in rows]
    assert len(questions) == len(set(questions)) == 180
    assert all(row["gold_solution"].endswith(f"\\boxed{{{row['gold_answer']}}}.") for row in sets["test"])


def test_the_table_is_by_arm_and_miniature() -> None:
    share = {"estimate": 0.5, "interval": [0.4, 0.6]}
    gain = {"delta": 0.1, "interval": [0.0, 0.2], "p_value": 0.05, "gained": 1, "lost": 0}
    arm = {"measures": {"greedy": share, "sampled": share, "pass@8": share}, "against_control": {"greedy": gain}}
    arm |= {"trial": 1, "validation": [0.1, 0.2], "failed": None}
    study = Study.model_construct(result={"arms": {"errata": arm}})
    row = table({"miniature": study})["errata"]["miniature"]
    assert row["pass8"] == share
    assert row["against_fine_tuning"] == {"greedy": gain, "sampled": None, "pass8": None}
