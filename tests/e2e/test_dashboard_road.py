"""The whole road by clicking: upload, estimate, start, watch, browse, reject, freeze, download, train, compare."""

from __future__ import annotations

import json
import zipfile
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from demo.problems import stories, true_bodies, write_solution
from tests.e2e.conftest import Prepare
from tests.e2e.test_dashboard import WIDE, Watched, browser
from tests.processes import Running

__all__ = ["browser"]  # a fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ENDS = 600_000  # milliseconds that a stage may take on a busy machine; the pages refresh themselves meanwhile
PROBLEMS = 10


def problem_file(folder: Path) -> Path:
    """Problems of the miniature's kind with their solutions, as GSM8K writes them: rules can edit these."""
    rows = [
        {"question": question, "answer": f"{write_solution(true_bodies(story, results)[:-1])}\n#### {results[-1]}"}
        for question, story, results in islice(stories(seed=5), PROBLEMS)
    ]
    file = folder / "road.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def ended(page: Page) -> None:
    """Wait until the row whose page this is has succeeded."""
    page.locator(".page-head .state-succeeded, .page-head .state-failed").wait_for(timeout=ENDS)
    assert page.locator(".page-head .state-succeeded").count() == 1, page.inner_text("main")


def test_the_whole_road_by_clicking(browser: Browser, prepared: Prepare, tmp_path: Path) -> None:
    with Running("serve", "--port", "0", env=prepared()) as serve, browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        url = serve.url()
        watched = Watched(context.new_page())
        watched.watch(urlsplit(url).netloc)
        page = watched.page
        page.set_default_timeout(120_000)
        page.goto(url)
        start_a_job(page, problem_file(tmp_path))
        reject_a_pair(page)
        freeze_and_download(page, tmp_path)
        train(page)
        evaluate(page)
        compare(page)
        assert watched.complaints == []


def start_a_job(page: Page, file: Path) -> None:
    """Upload the file, estimate, go on to the job, and watch it to its end."""
    page.click("nav >> text=Problem sets")
    page.click("main >> text=Upload")
    page.set_input_files("#file", file)
    page.check("#solutions")
    page.click("main button:has-text('Upload')")
    page.wait_for_url("**/problem-sets/pset_*")
    assert f"{PROBLEMS} problems" in page.inner_text(".head-facts")
    page.click("text=Start a job")
    page.click("text=Estimate first")
    page.wait_for_url("**/estimates/est_*")
    page.locator("text=Go on to the job").wait_for(timeout=ENDS)
    page.click("text=Go on to the job")
    page.fill("input[name=name]", "the road")
    page.click("text=Start the job")
    page.wait_for_url("**/jobs/inj_*")
    ended(page)


def reject_a_pair(page: Page) -> None:
    """Look at the pairs, and reject the first one with a reason, by the keyboard."""
    page.click("text=Browse the pairs")
    page.locator(".pair-list a").first.click()
    page.wait_for_url("**/pairs/pair_*")
    first = page.url
    page.keyboard.press("r")
    page.keyboard.type("too plain")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda now: "/pairs/pair_" in now and now != first)
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(first)
    assert "Rejected" in page.inner_text("#review")
    assert "too plain" in page.inner_text("#review")
    page.click(".crumbs >> text=the road")


def freeze_and_download(page: Page, folder: Path) -> None:
    """Freeze the job's pairs, wait for the files, and take them home."""
    page.click("text=Freeze its pairs")
    page.fill("input[name=name]", "road pairs")
    page.click("main button:has-text('Freeze')")
    page.wait_for_url("**/datasets/ds_*")
    ended(page)
    assert "Wrong step" in page.inner_text("#distributions + .charts")
    with page.expect_download() as begun:
        page.click(".side-acts >> text=Download")
    archive = folder / "dataset.zip"
    begun.value.save_as(archive)
    with zipfile.ZipFile(archive) as files:
        assert "steps_and_full/train.jsonl" in {name.partition("/")[2] or name for name in files.namelist()} | set(
            files.namelist()
        )


def train(page: Page) -> None:
    """Look at the tokens that would be trained, then train on the dataset."""
    page.click("text=Train on it")
    page.select_option("select[name=base_model]", "miniature")
    page.fill("input[name=output_name]", "road-model")
    page.fill("input[name='config.epochs']", "1")
    page.click("text=Preview tokens and time")
    page.locator("#preview ins.token").first.wait_for(timeout=ENDS)
    page.click("text=Start training")
    page.wait_for_url("**/training/train_*")
    ended(page)


def evaluate(page: Page) -> None:
    """Let the new model and its base answer the same few problems."""
    for model in ("road-model", "miniature"):
        page.click("nav >> text=Models")
        page.click(f"main >> text='{model}'")
        page.wait_for_url(f"**/models/{model}")
        page.click("main >> text=Evaluate")
        page.fill("input[name='config.limit']", "4")
        page.fill("input[name=name]", f"{model} answers")
        page.click("main button:has-text('Evaluate')")
        page.wait_for_url("**/evaluations/eval_*")
        ended(page)


def compare(page: Page) -> None:
    """Choose the two evaluations, and read their difference."""
    page.click("nav >> text=Evaluations")
    page.click("text=Compare two")
    for field, name in (("before", "miniature answers"), ("after", "road-model answers")):
        labels = page.locator(f"#{field} option").all_inner_texts()
        page.select_option(f"#{field}", label=next(label for label in labels if name in label))
    page.click("main button:has-text('Compare')")
    page.wait_for_url("**/compare/eval_*")
    assert "4 problems that both answered" in page.inner_text(".head-facts")
    assert "95 % interval" in page.inner_text("main")
