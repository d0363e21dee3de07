"""``make gpu-check``: what it lists, what it names as missing, and how a part that fails or hangs is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gpu_check
from bench.gpu_check import Part, check, missing, parts, perform


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "ROOT", tmp_path)


def part(tmp_path: Path, code: str, seconds: int = 60) -> Part:
    (tmp_path / "made.py").write_text(code)
    return Part("made", ["made"], seconds)


def test_this_environment_lacks_nothing_and_another_is_told_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert missing() == []
    monkeypatch.setattr(gpu_check, "_PYTEST", ("no-such-package>=2", "pytest<1"))
    assert [name.split(" (")[0] for name in missing()] == ["no-such-package>=2", "pytest<1"]


def test_a_part_that_passes_gives_its_last_line_of_json(tmp_path: Path) -> None:
    told = perform(part(tmp_path, "print('words'); print('{\"ratio\": 2}')"), 60, tmp_path / "log")
    assert told["state"] == "passed"
    assert told["figures"] == {"ratio": 2}


def test_a_part_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    told = perform(part(tmp_path, "raise SystemExit('the kernel has no image')"), 60, tmp_path / "log")
    assert told["state"] == "failed"
    assert "the kernel has no image" in told["last_words"]


def test_a_part_that_hangs_is_cut_and_takes_its_children_along(tmp_path: Path) -> None:
    child = f"import time, pathlib; time.sleep(4); pathlib.Path({str(tmp_path / 'alive')!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    told = perform(part(tmp_path, code), 1, tmp_path / "log")
    assert told["state"] == "cut"
    assert "KeyboardInterrupt" in told["last_words"], "it was asked for what it knows"
    assert not (tmp_path / "alive").exists()


def test_the_budget_ends_in_time_and_names_what_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = part(tmp_path, "print('{}')")
    monkeypatch.setattr(gpu_check, "parts", lambda _dry: [made, Part("with", ["made"], 60, module="no_such_module")])
    result = check(dry=False, folder=tmp_path)
    assert result["passed"]
    assert result["parts"]["with"] == {"state": "left out", "why": "no_such_module is not installed", "command": "made"}
    monkeypatch.setattr(gpu_check, "BUDGET_SECONDS", 5)
    assert check(dry=False, folder=tmp_path)["parts"]["made"]["why"] == "no time was left"


def test_all_parts_fit_the_eight_minutes_and_a_dry_run_leaves_out_what_needs_a_gpu(tmp_path: Path) -> None:
    assert gpu_check.BUDGET_SECONDS < 480
    on_gpu, dry = parts(dry=False), parts(dry=True)
    assert [p.name for p in on_gpu] == [p.name for p in dry]
    assert {p.name for p in dry if not p.needs_gpu} == {"tests", "step_0.5b"}
    assert all("cuda" in p.command for p in on_gpu if p.name.startswith("step"))


@pytest.mark.parametrize(("code", "status"), [("print('{\"ratio\": 2}')", 0), ("raise SystemExit('no kernel')", 1)])
def test_a_dry_run_lists_all_runs_what_it_can_and_ends_with_its_outcome(
    code: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, out = part(tmp_path, code), tmp_path / "told" / "check.json"
    monkeypatch.setattr(gpu_check, "parts", lambda _dry: [made, Part("large", ["made", "--large"], 60, needs_gpu=True)])
    monkeypatch.setattr(gpu_check, "missing", list)  # read from the project's own folder: above
    monkeypatch.setattr("sys.argv", ["gpu_check", "--dry-run", "--out", str(out)])
    assert gpu_check.main() == status
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert json.loads(out.read_text()) == told
    assert told["dry_run"]
    assert told["passed"] is (status == 0)
    assert told["parts"]["large"] == {"state": "left out", "why": "needs a GPU", "command": "made --large"}
    assert told["parts"]["made"]["state"] == ("passed" if status == 0 else "failed")
    assert "made: at most" in printed.err
    assert "large: left out" in printed.err
    assert (out.parent / "made.log").exists()


def test_without_a_gpu_it_says_so_and_names_the_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "missing", list)
    monkeypatch.setattr(gpu_check, "machine", lambda: {"gpu": None})
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    assert gpu_check.main() == 2
    assert "--dry-run" in capsys.readouterr().err
