"""The client against a real service: every resource, every error it raises, waiting, following, downloading."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

import httpx
import pytest

from demo import problems
from errata_client import (
    ConflictError,
    Errata,
    InvalidRequest,
    JobFailed,
    NotFoundError,
    ServiceUnreachable,
    WaitTimeout,
)
from errata_client.records import InjectionJob
from tests.api.conftest import PROBLEMS
from tests.api.problem_sets.uploading import csv_of, lines, parquet
from tests.processes import Running, environment

pytestmark = pytest.mark.slow
RULES = {"sampling": {"source": "brought"}, "shard_size": 2}


@pytest.fixture(scope="module")
def errata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errata]:
    """A client of a service of this module's own."""
    home = tmp_path_factory.mktemp("home")
    with Running("serve", "--port", "0", "--no-trainer", env=environment(home)) as serve, Errata(serve.url()) as client:
        yield client


@pytest.fixture(scope="module")
def job(errata: Errata) -> InjectionJob:
    """A finished job over brought solutions."""
    made = problems.generate(6, seed=11)
    posted = errata.problem_sets.create("client", problems.rows(made))
    assert (posted.problem_count, posted.rejected) == (6, [])
    rows = [{"problem": at, "source": "gold", "text": made[at].gold_solution, "label": True} for at in range(6)]
    first, again = (errata.problem_sets.bring_solutions(posted.id, rows) for _ in range(2))
    assert (first.added, first.existing, again.added, again.existing) == (6, 0, 0, 6)
    seen: list[float] = []
    started = errata.injection_jobs.create(posted.id, preset="rules", config=RULES, name="client")
    done = errata.injection_jobs.wait(started.id, on_progress=lambda now: seen.append(now.fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    return done


def test_jobs_and_pairs(errata: Errata, job: InjectionJob) -> None:
    assert job.succeeded
    assert job.config["editing"]["editor"] == "rules"
    assert job.advice is None, "it gave pairs enough"
    pairs = list(errata.pairs.list(job=job.id))
    assert len(pairs) == errata.injection_jobs.funnel(job.id)["pairs"]["total"] > 0
    assert errata.pairs.get(pairs[0].id) == pairs[0]
    kinds = {pair.error_kind for pair in errata.pairs.list(job=job.id, error_kind="operator")}
    assert kinds <= {"operator"}
    solutions = list(errata.injection_jobs.solutions(job.id))
    assert {(s.source, s.verdict, s.label) for s in solutions} == {("gold", "correct", True)}
    assert list(errata.injection_jobs.edits(job.id))
    assert job.id in [found.id for found in errata.injection_jobs.list(state="succeeded")]
    assert job.problem_set in [found.id for found in errata.problem_sets.list()]
    assert len(list(errata.problem_sets.problems(job.problem_set))) == 6


def test_a_file_of_every_format_is_uploaded(errata: Errata, tmp_path: Path) -> None:
    made = {
        "a.jsonl": lines(*PROBLEMS),
        "a.json": json.dumps(PROBLEMS).encode(),
        "a.csv": csv_of(PROBLEMS),
        "a.parquet": parquet(PROBLEMS),
        "a.jsonl.gz": gzip.compress(lines(*PROBLEMS)),
    }
    sets = []
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
        given = {"license": "MIT", "source_url": None, "benchmark": True}
        sets.append(errata.problem_sets.upload("formats", str(tmp_path / name), **given))
    assert {row.id for row in sets} == {sets[0].id}
    assert (sets[0].problem_count, sets[0].license) == (5, "MIT")
    with pytest.raises(ValueError, match=r"a\.xls: give a file that ends in"):
        errata.problem_sets.upload("formats", tmp_path / "a.xls")


def test_a_job_that_gives_nothing_says_why(errata: Errata) -> None:
    made = problems.generate(4, seed=12)
    posted = errata.problem_sets.create("wrong", problems.rows(made))
    rows = [{"problem": at, "source": "off", "text": f"The answer is \\boxed{{{10**6 + at}}}."} for at in range(4)]
    errata.problem_sets.bring_solutions(posted.id, rows)
    done = errata.injection_jobs.wait(errata.injection_jobs.create(posted.id, preset="rules", config=RULES).id)
    assert done.succeeded
    assert done.advice is not None
    assert done.advice.startswith("No solution was correct: ")
    last = list(errata.injection_jobs.events(done.id))[-1]
    assert (last.type, last.data["advice"]) == ("succeeded", done.advice)
    assert escape(done.advice) in httpx.get(f"{errata.url}/jobs/{done.id}").text


def test_an_estimate_forecasts_the_job_and_shows_up_nowhere_else(errata: Errata, job: InjectionJob) -> None:
    before = [found.id for found in errata.injection_jobs.list()], [pair.id for pair in errata.pairs.list()]
    asked = errata.injection_jobs.estimate(job.problem_set, preset="rules", config=RULES, pilot_problems=6)
    assert asked.id.startswith("est_")
    done = errata.estimates.wait(asked.id, timeout_seconds=120)
    assert done.forecast is not None
    assert (done.fraction, done.forecast.problems, done.pilot["problems"]) == (1.0, 6, 6)
    made = len(list(errata.pairs.list(job=job.id)))
    assert done.forecast.pairs.low == done.forecast.pairs.high == made, "all problems seen: nothing is open"
    after = [found.id for found in errata.injection_jobs.list()], [pair.id for pair in errata.pairs.list()]
    assert after == before
    assert asked.id in [found.id for found in errata.estimates.list()]


def test_lists_go_on_over_pages(errata: Errata, job: InjectionJob) -> None:
    path = f"/v1/injection-jobs/{job.id}/solutions"
    whole = [row["id"] for row in errata._transport.pages(path, page_size=500)]
    paged = [row["id"] for row in errata._transport.pages(path, page_size=2)]
    assert whole == paged
    assert len(set(paged)) == 6


def test_events_as_list_and_stream_are_the_same(errata: Errata, job: InjectionJob) -> None:
    listed = list(errata.injection_jobs.events(job.id))
    assert listed[0].type == "queued"
    assert list(errata.injection_jobs.follow(job.id)) == listed


def test_a_dataset_is_downloaded_verified_and_not_twice(errata: Errata, job: InjectionJob, tmp_path: Path) -> None:
    dataset = errata.datasets.wait(errata.datasets.create("client", [job.id]).id)
    assert dataset.manifest is not None
    folder = errata.datasets.download(dataset.id, tmp_path / "ds")
    files = errata.datasets.files(dataset_id=dataset.id)
    assert {file.path for file in files} <= {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert not list(folder.rglob("*.part"))
    largest = max(files, key=lambda file: file.bytes)
    target = folder / largest.path
    stamp = target.stat().st_mtime_ns
    errata.datasets.download(dataset_id=dataset.id, folder=folder)
    assert target.stat().st_mtime_ns == stamp
    data = target.read_bytes()
    target.unlink()
    target.with_name(target.name + ".part").write_bytes(data[: len(data) // 2])
    errata.datasets.download(dataset.id, folder)
    assert target.read_bytes() == data


def test_finished_datasets_are_mixed(errata: Errata, job: InjectionJob) -> None:
    one = errata.datasets.wait(errata.datasets.create("one", [job.id]).id)
    mix = errata.datasets.wait(errata.datasets.create("mix", datasets={one.id: 2.0}).id)
    assert mix.manifest is not None
    assert [entry["weight"] for entry in mix.manifest["mix"]] == [2.0]
    assert one.manifest is not None
    assert mix.manifest["counts"]["pairs"] == one.manifest["counts"]["pairs"]


def test_upload_reports_bad_lines(errata: Errata, tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text('{"question": "1 + 1?", "gold_answer": "2"}\n{"question": 3}\n', encoding="utf-8")
    posted = errata.problem_sets.upload("upload", file)
    assert posted.problem_count == 1
    assert [row.line for row in posted.rejected] == [2]
    with pytest.raises(ValueError, match=r"\.jsonl"):
        errata.problem_sets.upload("upload", tmp_path / "set.txt")


def test_errors_say_what_to_do(errata: Errata, job: InjectionJob) -> None:
    with pytest.raises(NotFoundError):
        errata.injection_jobs.get("inj_none")
    with pytest.raises(InvalidRequest) as refused:
        errata.injection_jobs.create(job.problem_set, preset="rules", config={"sampling": {"sampels": 3}})
    assert refused.value.status == 422
    assert refused.value.type.startswith("urn:errata:problem:")
    assert any("sampels" in error.field for error in refused.value.errors)
    with pytest.raises(ConflictError):
        errata.injection_jobs.cancel(job.id)
    with pytest.raises(NotFoundError):
        errata.models.get("nobody")


@pytest.fixture(scope="module")
def long_set(errata: Errata) -> str:
    """Problems for a job that is not over before it can be looked at."""
    made = problems.generate(40, seed=12)
    posted = errata.problem_sets.create("long", problems.rows(made))
    rows = [{"problem": at, "source": "gold", "text": made[at].gold_solution, "label": True} for at in range(40)]
    errata.problem_sets.bring_solutions(posted.id, rows)
    return posted.id


def test_a_job_that_ends_badly_raises_and_carries_it(errata: Errata, long_set: str) -> None:
    started = errata.injection_jobs.create(long_set, preset="rules", config={**RULES, "shard_size": 1})
    try:
        errata.injection_jobs.cancel(started.id)
    except ConflictError:
        pytest.fail("it ended before it could be cancelled")
    with pytest.raises(JobFailed) as failed:
        errata.injection_jobs.wait(started.id)
    assert failed.value.job.state == "cancelled"
    assert errata.injection_jobs.wait(started.id, check=False).state == "cancelled"


def test_waiting_has_an_end(errata: Errata, long_set: str) -> None:
    started = errata.injection_jobs.create(long_set, preset="rules", config={**RULES, "shard_size": 1})
    with pytest.raises(WaitTimeout) as late:
        errata.injection_jobs.wait(started.id, timeout_seconds=0)
    assert late.value.job.id == started.id
    errata.injection_jobs.cancel(started.id)


def test_presets_and_readiness(errata: Errata) -> None:
    assert {"errata", "paper", "rules"} <= {preset.name for preset in errata.presets.list()}
    assert errata.ready()
    with Errata("http://127.0.0.1:9", retries=0) as nobody:
        assert not nobody.ready()
        with pytest.raises(ServiceUnreachable):
            nobody.models.list()
