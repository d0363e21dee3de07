"""A small real model on the whole road, embedded: its slips in brought solutions, and a job that gives nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.real_data import default_file, read
from bench.real_model import Run, figures
from bench.service import Service, running
from tests.lacking import lacking

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
PROBLEMS = 16


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The embedded service with the model that ERRATA_REAL_MODEL names."""
    if "ERRATA_REAL_MODEL" not in os.environ:
        pytest.fail("these tests need a real model: run them with `make test-real`")
    folder = Path(os.environ["ERRATA_REAL_MODEL"])
    if not (folder / "config.json").is_file():
        lacking(f"no model in {folder}: the package index did not have it")
    more = {"ERRATA_GENERATION_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with running(tmp_path_factory.mktemp("home"), embedded=True, variables=more) as service:
        service.add_model("real", {"path": str(folder.resolve()), "max_context": 2048}, engine="transformers")
        yield service


def test_its_slips_edit_brought_solutions(service: Service) -> None:
    problems, solutions = read(default_file(), PROBLEMS)
    found = figures([Run(service, shown=0).edited(service.add_problems(problems, solutions), "slip")])
    assert found["edits"] > PROBLEMS
    assert found["kept_share"] >= 0.9
    assert found["solved_with_pair"] >= 0.9
    assert found["generated_tokens_per_pair"] <= 5
    assert found["prompt_tokens_per_pair"] > 0


def test_its_own_job_says_why_it_gives_nothing(service: Service) -> None:
    """Greedily and in few tokens this model solves nothing: its job succeeds all the same, and says why."""
    problems, _ = read(default_file(), 4)
    config = {"sampling": {"samples": 1, "temperature": 0.0, "max_tokens": 48}, "pairs": {"full": False}}
    body = {"problem_set": service.add_problems(problems), "language_model": "real", "config": config}
    _, [job] = service.run([body])
    assert job["funnel"]["pairs"]["total"] == 0
    assert " samples " in job["advice"] or job["advice"].startswith("No sample was correct: ")
