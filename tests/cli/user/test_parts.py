"""What user commands are made of: profiles and keys, settings, clean texts, and the lines of a watched job."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import CliError
from cli.user.connection import Profile, profiles_file, read_profiles, speaks_http, target, write_profiles
from cli.user.jobs import _as_settings, _where_it_stops, state_of
from cli.user.limits import amount, given_limits, spent_of, stopped_of
from cli.user.live import funnel_rows, view
from cli.user.output import clean, duration
from cli.user.settings import configuration
from cli.user.training import _previewed
from cli.user.watch import summary, watch
from errata import preset_sentences
from errata_client.records import InjectionJob, TrainingJob
from workers.training.config import PRESETS

THERE = "https://errata.example"


@pytest.fixture(autouse=True)
def _own_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_CONFIG", str(tmp_path / "config" / "profiles.json"))
    for name in ("ERRATA_URL", "ERRATA_API_KEY", "ERRATA_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def test_a_profiles_key_goes_to_its_own_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    write_profiles({"default": Profile(THERE, "secret")})
    assert target(None) == Profile(THERE, "secret")
    assert target(THERE + "/") == Profile(THERE, "secret")
    assert target("https://elsewhere.example") == Profile("https://elsewhere.example", None)
    monkeypatch.setenv("ERRATA_URL", "http://127.0.0.1:1")
    assert target(None).key is None
    monkeypatch.setenv("ERRATA_API_KEY", "given")
    assert target(None).key == "given"


def test_profiles_are_private_chosen_by_name_and_named_where_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not speaks_http(None)
    write_profiles({"default": Profile(THERE, None), "gpu": Profile("http://gpu:8000", "k")})
    assert stat.S_IMODE(profiles_file().stat().st_mode) == 0o600
    assert speaks_http(None)
    monkeypatch.setenv("ERRATA_PROFILE", "gpu")
    assert target(None) == Profile("http://gpu:8000", "k")
    monkeypatch.setenv("ERRATA_PROFILE", "gone")
    with pytest.raises(CliError, match="errata login --profile gone"):
        target(None)


@pytest.mark.parametrize("text", ["{", "[]", '{"default": 3}', '{"default": {}}'])
def test_a_broken_profiles_file_says_what_to_do(text: str) -> None:
    profiles_file().parent.mkdir()
    profiles_file().write_text(text, encoding="utf-8")
    with pytest.raises(CliError, match="remove it and run `errata login` again"):
        read_profiles()


def test_settings_lie_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"sampling": {"samples": 4, "top_p": 0.9}, "seed": 1}), encoding="utf-8")
    found = configuration(file, ["sampling.samples=8", "editing.fallback=[]", "sampling.source=brought", "seed=null"])
    assert found == {
        "sampling": {"samples": 8, "top_p": 0.9, "source": "brought"},
        "editing": {"fallback": []},
        "seed": None,
    }


@pytest.mark.parametrize("setting", ["seed", "=1", "a..b=1", ".a=1", "seed.low=1"])
def test_a_setting_that_cannot_be_placed_is_named(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"seed": 1}', encoding="utf-8")
    with pytest.raises(CliError, match="--set"):
        configuration(file, [setting])


@given(st.text(alphabet=st.characters(codec=None), max_size=200), st.booleans())
def test_nothing_that_moves_a_terminal_is_printed(text: str, lines: bool) -> None:
    shown = clean(text, lines)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown if not (lines and c in "\n\t"))
    assert not set(shown) & set("‎‏‪‫‬‭‮⁦⁧⁨⁩")
    shown.encode("utf-8")


def test_what_is_hidden_is_spelled() -> None:
    assert clean("\x1b[2Ja\nb\u202ec") == "\\x1b[2Ja⏎b\\u202ec"
    assert clean("a\nb", lines=True) == "a\nb"


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (4.4, "4 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")])
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def job(state: str, **more: Any) -> InjectionJob:
    shards = {"total": 4, "queued": 1, "running": 1, "done": 2, "quarantined": 0, "cancelled": 0}
    inside = {"sample": {"unit": "samples", "made": 30, "total": 64, "tokens": 900}}
    progress = {"fraction": 0.4, "shards": shards, "problems_done": 64, "problems_total": 128, "eta_seconds": 75.0}
    progress |= {"inside": inside, "tokens": {"sample": 900}, "made": {"samples": 30}}
    row = {"id": "inj_1", "state": state, "error": None, "created_at": "2026-01-01T00:00:00Z", "name": None}
    row |= {"started_at": None, "finished_at": None, "partial": False, "problem_set": "pset_1", "preset": "errata"}
    return InjectionJob.model_validate({**row, "language_model": "coder", "config": {}, "progress": progress, **more})


def test_a_line_tells_state_share_counts_speed_and_time() -> None:
    told = summary(job("running"), 123.4)
    assert told == "inj_1 running · 40% · 64 of 128 problems · 30 samples · 123 tokens/s · 1 min 15 s left"
    assert "left" not in summary(job("succeeded"))


def test_a_job_tells_that_it_is_paused_and_where_it_stopped() -> None:
    assert state_of(job("running", paused_at="2026-01-01T00:00:00Z")) == "running, paused"
    assert state_of(job("cancelled", paused_at="2026-01-01T00:00:00Z")) == "cancelled"
    funnel = {"problems": {"skipped": {"accepted_pairs": 1144}}}
    stopped = job("succeeded", stopped="accepted_pairs", config={"stop": {"accepted_pairs": 50}}, funnel=funnel)
    assert stopped_of(stopped) == "50 accepted pairs; 1,144 problems left"
    assert stopped_of(job("succeeded")) is None
    late = job("succeeded", stopped="deadline", config={"stop": {"deadline": "2026-01-01T00:00:00Z"}}, funnel={})
    assert stopped_of(late) == "2026-01-01T00:00:00Z deadline; 0 problems left"
    assert spent_of(job("running", spent={"amount": 1234.5, "currency": "EUR"})) == "1,234.5 EUR"
    assert spent_of(job("running")) is None
    assert given_limits(pairs=3, money=0.5) == {"accepted_pairs": 3, "money": 0.5}
    assert amount(1200) == "1,200"
    stop = {"limit": "accepted_pairs", "problems": 1500, "overshoot": 32}
    assert _where_it_stops(stop) == "at its limit of accepted pairs after about 1,500 problems, at most 32 more"
    assert _where_it_stops({**stop, "limit": None}) == "not before its problems end: no limit is reached"


def test_a_run_tells_its_steps() -> None:
    run = TrainingJob.model_validate(
        {**job("running").model_dump(), "id": "train_1", "dataset": "ds", "base_model": "b", "output_name": "o"}
        | {"step": 3, "total_steps": 12, "eta_seconds": 9, "progress": None}
    )
    assert summary(run) == "train_1 running · 25% · step 3 of 12 · 9 s left"


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_live_view_fits_and_sends_no_escape_of_the_jobs_texts(width: int) -> None:
    out = Console(width=width, file=None, force_terminal=False, record=True)
    with out.capture() as said:
        out.print(view(job("running", language_model="m\x1b[31m" + "x" * 300, advice="a\x1b]0;t\x07"), 12.0))
    assert "\x1b" not in said.get()
    assert all(len(line) <= width for line in said.get().splitlines())
    assert "30 of 64 samples" in said.get()


def test_the_funnel_tells_what_is_left_at_each_level() -> None:
    funnel = {
        "samples": {"total": 64, "verdicts": {"correct": 40, "incorrect": 24}},
        "edits": {"total": 30, "proven": {"replay": 12, "contradiction": 8}},
        "pairs": {"total": 25, "by_type": {"step": 20, "full": 5}},
    }
    assert funnel_rows(funnel) == [
        ("correct samples", 40, 64, ""),
        ("proven edits", 20, 30, "12 replay, 8 contradiction"),
        ("pairs", 25, 25, "20 step, 5 full"),
    ]
    assert funnel_rows({"samples": {"total": 0}, "edits": {"total": 0}, "pairs": {"total": 0}}) == []
    out = Console(width=80, record=True)
    with out.capture() as said:
        out.print(view(job("running", funnel=funnel)))
    assert "20 of 30" in said.get()


def waiting(*states: str, interrupted: bool = False) -> Any:
    """A resource whose job goes through these states."""

    def wait(job_id: str, *, on_progress: Any = None, check: bool = True) -> Any:
        for state in states:
            on_progress(last := job(state, error="it broke" if state == "failed" else None))
        if interrupted:
            raise KeyboardInterrupt
        return last

    return SimpleNamespace(wait=wait)


def test_without_a_terminal_each_new_state_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert watch(waiting("queued", "running", "running", "succeeded"), "inj_1", "again").succeeded
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["queued", "running", "succeeded"]


@pytest.mark.parametrize(
    ("jobs", "status", "text"),
    [
        (waiting("running", "failed"), 3, "inj_1 failed: it broke"),
        (waiting("running", interrupted=True), 130, "the job goes on: `again`"),
    ],
)
def test_failure_and_ctrl_c_have_statuses_of_their_own(jobs: Any, status: int, text: str) -> None:
    with pytest.raises(CliError, match=text) as refused:
        watch(jobs, "inj_1", "again")
    assert refused.value.status == status


def test_what_an_estimate_suggests_can_be_given_back() -> None:
    config = {"editing": {"few_shot": 0, "kinds": {"operator": 1}}, "seed": 3, "stop": {}}
    words = shlex.split(f"--set {_as_settings(config)}")
    assert words[::2] == ["--set"] * 4
    assert configuration(None, words[1::2]) == config


def test_a_preview_tells_times_and_sizes_in_words() -> None:
    seen = SimpleNamespace(
        refused=None,
        report={"trained": 3},
        steps=2,
        memory_bytes=30 * 2**20,
        disk_bytes=3 * 2**30,
        seconds={"per_cpu_core": 4.0, "per_gpu": 1.0},
    )
    told = _previewed(seen)
    assert (told["memory"], told["disk"]) == ("30 MiB", "3.0 GiB")
    assert told["time"] == "4 s on one processor core; 1 s on one large GPU"


def test_every_preset_of_training_says_what_it_is_for() -> None:
    assert list(preset_sentences.TRAINING) == list(PRESETS)
