"""One run at W&B and MLflow per training run, through every resume; both packages were tried by hand, offline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.training.test_run import make_spec
from workers.training.run.trl_adapter import RememberMlflowRun, set_reporting_environment


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of the test's own."""
    own: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", own)
    return own


def test_a_resumed_run_has_the_names_of_the_first_attempt(tmp_path: Path, variables: dict[str, str]) -> None:
    set_reporting_environment(make_spec(tmp_path, report_to=["wandb"]))
    assert variables["WANDB_RUN_ID"] == "train_run"
    assert variables["WANDB_RESUME"] == "allow"
    assert variables["WANDB_DIR"] == str(tmp_path / "run" / "checkpoints")
    assert not [name for name in variables if name.startswith("MLFLOW")]


def test_what_the_operator_has_set_stands(tmp_path: Path, variables: dict[str, str]) -> None:
    variables |= {"WANDB_PROJECT": "ours", "WANDB_RUN_ID": "chosen", "MLFLOW_EXPERIMENT_NAME": "ours"}
    before = dict(variables)
    set_reporting_environment(make_spec(tmp_path, report_to=["wandb", "mlflow"]))
    assert before.items() <= variables.items()


def test_a_run_that_reports_nowhere_sets_nothing(tmp_path: Path, variables: dict[str, str]) -> None:
    spec = make_spec(tmp_path, report_to=["tensorboard"])
    before = dict(variables)
    set_reporting_environment(spec)
    assert variables == before


def test_mlflows_own_id_is_kept_for_the_next_attempt(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path, report_to=["mlflow"])
    spec.checkpoints.mkdir(parents=True)
    set_reporting_environment(spec)
    assert "MLFLOW_RUN_ID" not in variables
    run = SimpleNamespace(info=SimpleNamespace(run_id="c0ffee"))
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(active_run=lambda: run))  # type: ignore[arg-type]
    began = SimpleNamespace(is_world_process_zero=True)
    for elsewhere in (SimpleNamespace(report_to=["wandb"]), SimpleNamespace(report_to=[])):
        RememberMlflowRun(spec.checkpoints).on_train_begin(elsewhere, began, None)
    set_reporting_environment(spec)
    assert "MLFLOW_RUN_ID" not in variables
    RememberMlflowRun(spec.checkpoints).on_train_begin(SimpleNamespace(report_to=["mlflow"]), began, None)
    set_reporting_environment(spec)
    assert variables["MLFLOW_RUN_ID"] == "c0ffee"
