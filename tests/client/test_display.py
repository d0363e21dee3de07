"""The line that ``wait(progress=True)`` shows: on a terminal, and where there is none."""

from __future__ import annotations

import io
from typing import Any

import pytest

from errata_client.display import ProgressLine, line
from errata_client.records import InjectionJob, Job, TrainingJob
from tests.client.test_transport import JOB


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


def job(fraction: float, state: str = "running", **more: Any) -> InjectionJob:
    """An injection job that is so far."""
    return InjectionJob.model_validate(
        {**JOB, "state": state, "progress": {**JOB["progress"], "fraction": fraction, **more}}
    )


def told(*jobs: Job, stream: io.StringIO) -> str:
    with ProgressLine(stream=stream) as tell:
        for each in jobs:
            tell(each)
    return stream.getvalue()


def test_a_line_says_what_is_known() -> None:
    inside = {"sample": {"unit": "samples", "made": 1200, "total": 4000, "tokens": 9}}
    assert line(job(0.5, inside=inside, eta_seconds=4000)) == (
        "inj_1 running   [############............]  50%  sample: 1,200 of 4,000 samples  1 h 6 min left"
    )
    fields = ("id", "error", "created_at", "started_at", "finished_at")
    run = {key: JOB[key] for key in fields} | {"state": "running", "dataset": "ds_1", "base_model": "m", "config": {}}
    run |= {"output_name": "o", "language_model": None, "step": 3, "total_steps": 12, "eta_seconds": 40}
    assert line(TrainingJob.model_validate(run)).endswith(" 25%  step 3 of 12  40 s left")


def test_elsewhere_it_is_a_line_for_each_state_and_each_tenth_of_the_way() -> None:
    steps = [job(0.0, "queued"), job(0.0), job(0.04), job(0.31), job(0.33), job(1.0, "succeeded")]
    lines = told(*steps, stream=io.StringIO()).splitlines()
    assert [text.split()[1] + text.split("]")[1] for text in lines] == [
        "queued   0%", "running   0%", "running  31%", "succeeded 100%"
    ]  # fmt: skip


def test_on_a_terminal_it_is_drawn_over_and_never_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    text = told(job(0.1), job(0.2, "succeeded"), stream=Terminal())
    assert text.count("\r\x1b[K") == 2
    assert text.count("\n") == 1
    assert all(len(part) < 40 for part in text.strip("\n").split("\r\x1b[K"))


def test_what_a_service_sends_controls_no_terminal() -> None:
    hostile = job(0.1).model_copy(update={"id": "inj_\x1b[2J\x07\r\n1"})
    text = told(hostile, stream=Terminal())
    assert text.replace("\r\x1b[K", "", 1).strip("\n").isprintable()


def test_nothing_is_shown_unless_it_is_asked_for() -> None:
    stream = io.StringIO()
    with ProgressLine(shown=False, stream=stream) as tell:
        tell(job(0.5))
    assert stream.getvalue() == ""
