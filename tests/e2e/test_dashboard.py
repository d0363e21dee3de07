"""The dashboard in a real browser: layout at both widths, hostile texts, live refresh, arrow keys, no scripts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from api.app import create_app
from api.http.auth import create_key
from api.settings import ApiSettings
from models.jobs import InjectionJob
from models.migrate import Base
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, move
from tests.dashboard_rows import Filled, fill
from tests.lacking import lacking
from workers.app import create_celery
from workers.dispatch import Dispatcher

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@dataclass
class Site:
    """A running dashboard over rows of the test's own."""

    url: str
    database: Database
    rows: Filled


@dataclass
class Watched:
    """A browser page and everything it complained of or asked another host for."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self, host: str) -> None:
        """Note console errors (a CSP violation is one), page errors and requests that leave ``host``."""
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda r: self.complaints.append(r.url) if urlsplit(r.url).netloc != host else None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; where it is not installed the tests are skipped (they fail under CI)."""
    if not CHROMIUM.exists():
        lacking(f"no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    database = Database(f"sqlite:///{tmp_path / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    rows = fill(database)
    store = StoreSettings(ERRATA_HOME=tmp_path)
    app = create_app(database, store, Dispatcher(create_celery("memory://")), ApiSettings())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Site(f"http://127.0.0.1:{port}", database, rows)
    server.should_exit = True
    thread.join(60)
    database.dispose()


def opened(context: BrowserContext, site: Site) -> Watched:
    watched = Watched(context.new_page())
    watched.watch(urlsplit(site.url).netloc)
    return watched


def paths(rows: Filled) -> list[str]:
    return [
        "/",
        "/jobs",
        f"/jobs/{rows.finished}",
        f"/jobs/{rows.running}",
        f"/jobs/{rows.hostile}",
        f"/jobs/{rows.finished}/pairs",
        f"/jobs/{rows.hostile}/pairs",
        f"/pairs/{rows.step_pairs[2]}",
        f"/pairs/{rows.full_pair}",
        f"/pairs/{rows.hostile_pair}",
        f"/datasets/{rows.dataset}",
        f"/training/{rows.training}",
        f"/evaluations/{rows.evaluations[1]}",
        f"/jobs/{rows.finished}/problems",
        f"/jobs/{rows.finished}/solutions",
        f"/jobs/{rows.finished}/edits",
        f"/jobs/{rows.hostile}/solutions",
        f"/evaluations/{rows.evaluations[0]}/compare/{rows.evaluations[1]}",
        "/problem-sets",
        f"/problem-sets/{rows.problem_set}",
        "/models",
        "/docs",
        "/upload",
        "/models/tiny",
        "/new/jobs",
        "/new/training",
        f"/new/datasets?jobs={rows.finished}",
        f"/jobs/{rows.running}/do/cancel",
        f"/jobs/{rows.hostile}/pairs?q=script",
        f"/jobs/{rows.finished}/steps",
        f"/jobs/{rows.hostile}/edit",
        f"/problem-sets/{rows.problem_set}/delete",
        f"/training/{rows.training}/checkpoints/40",
        "/workspace",
        "/webhooks",
        "/import",
        "/compare",
        "/estimates",
        "/ask",
        "/keys",
        "/audit-log",
    ]


def findings(page: Page, rules: dict[str, Any] | None = None) -> list[str]:
    """What axe finds on a page that keeps somebody out: its serious and critical findings, with the place."""
    found = Axe().run(page, options=rules).response["violations"]
    return [
        f"{page.url}: {told['id']}: {told['nodes'][0]['html'][:200]}"
        for told in found
        if told["impact"] in ("serious", "critical")
    ]


def test_every_page_is_accessible(browser: Browser, site: Site) -> None:
    """Both schemes have the same elements, so in the dark the colours alone are looked at once more."""
    with browser.new_context(viewport=WIDE, color_scheme="light", bypass_csp=True) as context:  # type: ignore[arg-type]
        page = context.new_page()
        found = []
        for path in [path for path in paths(site.rows) if path != "/docs"]:  # Swagger UI's page is its authors'
            page.emulate_media(color_scheme="light")
            page.goto(site.url + path)
            found += findings(page)
            page.emulate_media(color_scheme="dark")
            found += findings(page, {"runOnly": ["color-contrast"]})
    assert found == []


def test_every_page_fits_both_widths_and_runs_nothing_foreign(browser: Browser, site: Site) -> None:
    for viewport, scheme in ((WIDE, "light"), (NARROW, "dark")):
        with browser.new_context(viewport=viewport, color_scheme=scheme) as context:  # type: ignore[arg-type]
            watched = opened(context, site)
            for path in paths(site.rows):
                answer = watched.page.goto(site.url + path)
                assert answer is not None
                assert answer.status == 200, path
                widths = watched.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
                assert widths[0] <= widths[1], (path, widths)
                assert watched.page.evaluate("window.hacked === undefined"), path
            assert watched.complaints == []


def test_arrow_keys_walk_the_pairs(browser: Browser, site: Site) -> None:
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        watched = opened(context, site)
        first, second, _ = (f"{site.url}/pairs/{pair}?type=step" for pair in site.rows.step_pairs)
        watched.page.goto(first)
        watched.page.keyboard.press("ArrowLeft")  # nothing before the first
        watched.page.keyboard.press("ArrowRight")
        watched.page.wait_for_url(second)
        assert watched.page.locator("ins").all_inner_texts() == ["+"]
        watched.page.keyboard.press("ArrowLeft")
        watched.page.wait_for_url(first)
        assert watched.complaints == []


def test_a_running_job_is_refreshed_in_place_and_keeps_what_was_opened(browser: Browser, site: Site) -> None:
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        watched = opened(context, site)
        watched.page.goto(f"{site.url}/jobs/{site.rows.running}")
        watched.page.locator("summary").click()
        watched.page.evaluate("window.sameDocument = true")
        with site.database.begin() as session:
            assert move(session, InjectionJob, site.rows.running, JobState.SUCCEEDED)
        watched.page.locator(".page-head .state-succeeded").wait_for(timeout=60_000)
        assert watched.page.locator("details[open]").count() == 1
        assert watched.page.evaluate("window.sameDocument")
        assert watched.complaints == []


def test_pages_work_without_scripts(browser: Browser, site: Site) -> None:
    with browser.new_context(viewport=NARROW, java_script_enabled=False) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{site.url}/problem-sets/{site.rows.problem_set}")
        page.get_by_role("link", name="Rename or tag").click()
        page.fill("#name", "Pears of the year")
        page.fill("#tags", "fruit, school")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("link", name="fruit").click()
        page.get_by_role("link", name="Pears of the year").click()
        page.get_by_role("link", name="Delete …").click()
        assert "injection job Pears by the dozen" in " ".join(page.inner_text(".dependents").split())
        page.goto(site.url)
        page.get_by_role("link", name="Pears by the dozen", exact=True).click()
        page.get_by_role("link", name="Browse the pairs").click()
        page.get_by_role("link", name="operator").first.click()
        page.locator(".pair-list a").first.click()
        page.wait_for_url("**/pairs/pair_*")  # a click waits for the answer's beginning only
        assert page.locator("ins").all_inner_texts() == ["+"]
        page.goto(f"{site.url}/jobs/{site.rows.running}")
        with site.database.begin() as session:
            assert move(session, InjectionJob, site.rows.running, JobState.SUCCEEDED)
        page.locator(".page-head .state-succeeded").wait_for(timeout=60_000)  # the page reloads itself


def test_a_job_is_started_and_cancelled_by_clicking(browser: Browser, site: Site) -> None:
    with browser.new_context(viewport=NARROW) as context:
        watched = opened(context, site)
        page = watched.page
        page.goto(f"{site.url}/problem-sets/{site.rows.problem_set}")
        page.click("text=Start a job")
        page.select_option("select[name=language_model]", "tiny")
        page.fill("textarea", '{"seed": 3, "sampling": {"samples": "many"}}')
        page.click("text=Start the job")
        assert "give a whole number" in page.inner_text("main")
        page.fill("textarea", '{"seed": 3}')
        page.click("text=Show settings and request")
        assert "/v1/injection-jobs" in page.inner_text("pre")
        assert page.input_value("textarea") == '{"seed": 3}', "nothing that was typed is lost"
        page.click("text=Start the job")
        page.wait_for_url("**/jobs/inj_*")
        page.click("text=Cancel …")
        page.click("main button:has-text('Cancel')")
        page.wait_for_url("**/jobs/inj_*")
        assert "cancel" in page.inner_text(".head-facts")
        assert [told for told in watched.complaints if "422" not in told] == []


def test_the_api_reference_lists_the_operations(browser: Browser, site: Site) -> None:
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        watched = opened(context, site)
        watched.page.goto(site.url + "/docs")
        watched.page.fill(".operation-filter-input", "injection-jobs:")  # what is out of sight is not in the document
        watched.page.get_by_text("injection-jobs:estimate").first.click()
        watched.page.locator("text=Try it out").first.wait_for()
        assert watched.complaints == []


def test_a_file_is_uploaded_by_clicking(browser: Browser, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes("q;final\nWas ist 1 + 1?;2\nUnd 2 + 3?;\n".encode("cp1252"))
    with browser.new_context() as context:
        page = opened(context, site).page
        page.goto(site.url + "/problem-sets")
        page.click("main >> text=Upload")
        page.set_input_files("#file", file)
        page.fill("#mapping", '{"question": "q", "gold_answer": "fnal"}')
        page.click("main button")
        assert "final" in page.inner_text(".failure, .page-head"), "the file's own columns are named"
        page.set_input_files("#file", file)
        page.fill("#mapping", '{"question": "q", "gold_answer": "final"}')
        page.click("main button")
        page.wait_for_url("**/problem-sets/pset_*")
        assert page.inner_text("h1") == "mine"
        assert "1 problem" in page.inner_text(".head-facts")
        assert "Rows not taken" in page.inner_text(".side-column")


def test_a_browser_signs_in(browser: Browser, site: Site) -> None:
    with site.database.begin() as session:
        _, secret = create_key(session, "browser", scopes=["read"])
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(site.url)
        page.fill("#key", secret)
        page.click("main button")
        page.wait_for_url(site.url + "/")
        assert "Injection jobs" in page.inner_text("h1")
        assert page.locator("text=New job").count() == 0, "the key may only read"
