"""The whole road by the client alone: by the README's ten lines, and asynchronously, over one service."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from demo import problems
from errata_client import AsyncErrata, Errata
from errata_client.records import Comparison
from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
COUNT = 6


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``problems.jsonl`` in the working folder; what is cached stays in it as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = problems.rows(problems.generate(COUNT, seed=5))
    target = tmp_path / "problems.jsonl"
    target.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return target


def test_the_quickstart(live: str, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "client" / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(code.splitlines()) <= 10
    names: dict[str, Any] = {}
    exec(compile(code.replace("http://127.0.0.1:8000", live), "README.md", "exec"), names)
    told = capsys.readouterr()
    assert re.search(r"accuracy changed by [+-]\d+\.\d%", told.out)
    assert "rejected" in told.out, "the first rows, with their columns"
    job, run = names["job"], names["run"]
    assert f"{job.id} succeeded" in told.err
    assert f"{run.id} succeeded" in told.err
    assert "\x1b" not in told.err, "no terminal, no control characters"
    with Errata(live) as errata:
        assert len(list(errata.pairs.list(job=job.id))) == job.funnel["pairs"]["total"] > 0
        estimate = errata.injection_jobs.estimate(job.problem_set, language_model="miniature", pilot_problems=2)
        assert estimate.wait().pilot["problems"] == 2


async def road(url: str, file: Path, folder: Path) -> Comparison:
    """From problems to a comparison, with each step looked at."""
    async with AsyncErrata(url) as errata:
        posted = await errata.problem_sets.create("async", str(file))
        assert (await errata.problem_sets.upload("async", file)).id == posted.id, "str or Path, the same set"
        made = problems.generate(COUNT, seed=5)
        brought = [{"problem": at, "source": "gold", "text": each.gold_solution} for at, each in enumerate(made)]
        assert (await errata.problem_sets.bring_solutions(posted.id, brought)).added == COUNT
        given: dict[str, Any] = {"preset": "rules", "config": {"sampling": {"source": "brought"}}}
        estimate = await (await errata.injection_jobs.estimate(posted.id, **given)).wait()
        assert estimate.forecast is not None
        started = await errata.injection_jobs.create(posted.id, **given)
        types = [event.type async for event in started.stream()]
        assert (types[0], types[-1]) == ("queued", "succeeded")
        job = await started.wait(progress=True)
        pairs = [pair async for pair in job.pairs()]
        assert len(pairs) == (job.funnel or {})["pairs"]["total"] > 0
        dataset = await (await errata.datasets.create("async", [job.id])).wait()
        target = await dataset.download(folder)
        assert (target / "manifest.json").is_file()
        splits = await dataset.to_hf("steps_and_full", folder=folder)
        assert sum(map(len, splits.values())) == sum((dataset.manifest or {})["rows"]["steps_and_full"].values())
        run = await errata.training_jobs.create(
            dataset.id, base_model="miniature", output_name="async", config={"max_steps": 1}
        )
        run = await run.wait()
        assert [metric.step async for metric in run.metrics()]
        sides = [
            await errata.evaluations.create(posted.id, name, config={"max_tokens": 8})
            for name in ("miniature", run.output_name)
        ]
        old, new = await asyncio.gather(*(side.wait() for side in sides))
        return await old.compare(new)


def test_the_same_road_asynchronously(live: str, file: Path, tmp_path: Path) -> None:
    comparison = asyncio.run(road(live, file, tmp_path / "files"))
    assert comparison.problems == COUNT
    with Errata(live) as errata:
        assert errata.evaluations.compare(comparison.before.evaluation, comparison.after.evaluation) == comparison


def test_the_notebook(live: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, in order, in one namespace, as a kernel runs them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ERRATA_URL", live)
    notebook = json.loads((ROOT / "examples" / "first-pairs.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        assert set(cell) >= {"id", "cell_type", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "kept without outputs"
            exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), names)
    assert len(names["frame"]) == len(names["pairs"]) > 0
