"""The dashboard over real rows, on both databases: contents, scoping, escaping, signing in, bounded queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from api.app import create_app
from api.http.auth import create_key
from api.http.rows import encode
from api.pages import overview, pairs
from api.pages.rendering import COOKIE
from api.settings import ApiSettings
from models.base import db_now
from models.jobs import InjectionJob, PairRow
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState, move
from tests.dashboard_rows import HOSTILE, QUESTION, Filled, fill
from workers.app import create_celery
from workers.dispatch import Dispatcher

_VOID = {"meta", "link", "input", "rect", "line", "circle", "polyline"}


class Page(HTMLParser):
    """A page as a browser reads it: its elements with attributes, its text, and texts by tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.by_tag: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)
            self.by_tag.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        for tag in set(self._open):
            self.by_tag[tag][-1] += data

    def links(self, rel: str | None = None) -> list[str]:
        """Targets of links, those of one ``rel`` only if given."""
        found = [a for tag, a in self.elements if tag == "a" and "href" in a]
        return [a["href"] for a in found if rel is None or a.get("rel") == rel]


@pytest.fixture
def rows(database: Database) -> Filled:
    return fill(database)


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[TestClient]:
    store = StoreSettings(ERRATA_HOME=tmp_path)
    app = create_app(database, store, Dispatcher(create_celery("memory://")), ApiSettings())
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        yield client


def get(client: TestClient, url: str, status: int = 200) -> Page:
    answer = client.get(url)
    assert answer.status_code == status, (url, answer.text[:2000])
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def all_urls(rows: Filled) -> list[str]:
    urls = ["/", "/jobs", "/datasets", "/training", "/evaluations", "/fragments/overview", "/fragments/list/jobs"]
    for job in (rows.finished, rows.running, rows.hostile):
        urls += [f"/jobs/{job}", f"/fragments/jobs/{job}", f"/jobs/{job}/pairs"]
    urls += [f"/pairs/{pair}" for pair in (*rows.step_pairs, rows.full_pair, rows.hostile_pair)]
    urls += [f"/datasets/{rows.dataset}", f"/training/{rows.training}", f"/training/{rows.waiting_training}"]
    return urls + [f"/evaluations/{evaluation}" for evaluation in rows.evaluations]


def test_nothing_on_any_page_is_inline_or_from_another_host(client: TestClient, rows: Filled) -> None:
    for url in all_urls(rows):
        for tag, attributes in get(client, url).elements:
            assert tag not in ("style", "iframe", "object", "img"), (url, tag)
            assert tag != "script" or attributes.get("src", "").startswith("/static/"), url
            assert not [name for name in attributes if name == "style" or name.startswith("on")], (url, tag, attributes)
            for name in ("href", "src", "action", "data-refresh"):
                target = attributes.get(name, "/")
                assert target[:1] in ("/", "?", "#"), (url, target)
                assert target[:2] != "//", (url, target)


def test_every_tab_says_which_page_it_is(client: TestClient, rows: Filled) -> None:
    told = {path: re.findall("<title>(.*?)</title>", client.get(path).text, re.DOTALL)[0] for path in _titled(rows)}
    assert "Errata" not in told.values()
    assert len(set(told.values())) == len(told)


def _titled(rows: Filled) -> list[str]:
    lists = ["/jobs", "/datasets", "/training", "/evaluations", "/models", "/problem-sets"]
    return [*lists, f"/jobs/{rows.finished}", f"/datasets/{rows.dataset}", f"/evaluations/{rows.evaluations[0]}"]


def test_a_job_is_told_from_others_by_its_preset(client: TestClient, rows: Filled) -> None:
    preset = client.get(f"/v1/injection-jobs/{rows.finished}").json()["config"]["preset"]
    for path in ("/jobs", f"/jobs/{rows.finished}", "/new/datasets"):
        assert preset in get(client, path).text, path


def test_the_first_key_may_make_others(client: TestClient, rows: Filled) -> None:
    ticked = {a["value"] for tag, a in get(client, "/keys").elements if a.get("name") == "scopes" and "checked" in a}
    assert "admin" in ticked


def test_pages_forbid_inline_script_by_header_and_are_not_cached(client: TestClient, rows: Filled) -> None:
    headers = client.get(f"/pairs/{rows.step_pairs[0]}").headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_model_output_is_text_wherever_it_stands(client: TestClient, rows: Filled) -> None:
    for url in ("/", f"/jobs/{rows.hostile}", f"/jobs/{rows.hostile}/pairs", f"/pairs/{rows.hostile_pair}"):
        page = get(client, url)
        assert "<script>window.hacked=1</script>" in page.text, url
        assert "{{ 7*7 }}" in page.text
        assert "\u202e" not in page.text
        assert "[U+202E]" in page.text
        assert len([tag for tag, _ in page.elements if tag == "script"]) == 1
        assert HOSTILE[:60] not in client.get(url).text


def test_the_injected_error_is_marked_to_the_character_with_its_proof(client: TestClient, rows: Filled) -> None:
    page = get(client, f"/pairs/{rows.step_pairs[0]}")
    assert (page.by_tag["del"], page.by_tag["ins"]) == (["7"], ["8"])
    assert QUESTION in page.text
    assert "6 * 12 = 82" in page.text
    assert "An equation in the edited step is false" in page.text
    assert "Step 4: The answer is" in page.text  # what followed
    assert "edit-errata/1" in page.text
    assert "4711" in page.text
    assert "88 % (53 to 98 %)" in get(client, f"/pairs/{rows.step_pairs[2]}").text


def test_a_full_pair_shows_both_solutions_and_their_answers(client: TestClient, rows: Filled) -> None:
    page = get(client, f"/pairs/{rows.full_pair}")
    assert "ins" not in page.by_tag
    assert "37 / 3 = 9" in page.text
    assert "Rejected says" in page.text


def test_next_and_previous_walk_all_pairs_in_order_and_keep_the_filter(client: TestClient, rows: Filled) -> None:
    seen = []
    url = f"/pairs/{rows.step_pairs[0]}?type=step"
    while url:
        page = get(client, url)
        seen.append(url.removeprefix("/pairs/").removesuffix("?type=step"))
        forward, back = page.links("next"), page.links("prev")
        assert back == ([f"/pairs/{seen[-2]}?type=step"] if len(seen) > 1 else [])
        assert f"{len(seen)} of 3" in page.text
        url = forward[0] if forward else ""
    assert seen == list(rows.step_pairs)
    assert "of 4" in get(client, f"/pairs/{rows.step_pairs[0]}").text


def test_the_list_filters_by_kind_type_editor_and_evidence(client: TestClient, rows: Filled) -> None:
    base = f"/jobs/{rows.finished}/pairs"

    def shown(query: str) -> list[str]:
        links = get(client, base + query).links()
        return [link.split("?")[0].removeprefix("/pairs/") for link in links if link.startswith("/pairs/")]

    assert shown("?kind=operator") == [rows.step_pairs[1]]
    assert shown("?type=full") == [rows.full_pair]
    assert shown("?editor=slip") == [rows.step_pairs[1]]
    assert shown("?evidence=contradiction") == [rows.step_pairs[0], rows.step_pairs[1]]
    assert shown("?evidence=divergence&kind=operator") == []
    assert "No pair passes this filter" in get(client, base + "?kind=order").text
    assert len(shown("")) == 4
    assert f"/jobs/{rows.finished}/pairs?kind=operator" in get(client, base).links()


def test_a_job_shows_its_stages_its_funnel_and_every_reason(client: TestClient, rows: Filled) -> None:
    page = get(client, f"/jobs/{rows.finished}")
    assert "The step only states the final answer." in page.text
    assert "Another solution of the problem was drawn." in page.text
    assert "1 correct, 2 incorrect" in page.text
    assert {f"/jobs/{rows.finished}/pairs?{filter_}" for filter_ in ("kind=misreading", "editor=slip")} <= set(
        page.links()
    )
    assert "words: 510 tokens per pair" in " ".join(page.text.split())
    assert "took 1 min 10 s" in " ".join(page.text.split())
    running = get(client, f"/jobs/{rows.running}")
    assert "left" in running.text
    assert "1 running" in running.text


def _live(page: Page) -> list[str]:
    return [a["data-live"] for _, a in page.elements if "data-live" in a]


def test_only_what_can_change_is_refreshed_and_reloads_without_scripts(
    client: TestClient, rows: Filled, database: Database
) -> None:
    url = f"/jobs/{rows.running}"
    page = get(client, url)
    assert [a["data-refresh"] for _, a in page.elements if "data-refresh" in a] == [f"/fragments{url}"]
    assert (_live(page), len(page.by_tag["noscript"])) == (["1"], 1)
    with database.begin() as session:
        assert move(session, InjectionJob, rows.running, JobState.SUCCEEDED)
    assert _live(get(client, f"/fragments{url}")) == ["0"]
    assert "noscript" not in get(client, url).by_tag


def test_another_workspaces_rows_are_not_found_and_not_listed(
    client: TestClient, rows: Filled, database: Database
) -> None:
    for url in (f"/jobs/{rows.foreign}", f"/jobs/{rows.foreign}/pairs", f"/fragments/jobs/{rows.foreign}"):
        assert "somebody else" not in get(client, url, 404).text
    foreign = client.get(f"/pairs/{rows.foreign_pair}")
    absent = client.get("/pairs/pair_absentee")
    assert (foreign.status_code, foreign.text) == (404, absent.text)
    with database.read() as session:
        job, pair = session.get_one(InjectionJob, rows.foreign), session.get_one(PairRow, rows.foreign_pair)
        after_job = encode("injection_jobs-created_at.injection_jobs-id-", [job.created_at, job.id])
        after_pair = encode("pairs-created_at.pairs-id+", [pair.created_at, pair.id])
    for url in ("/", "/jobs", f"/jobs/{rows.finished}/pairs?after={after_pair}", f"/jobs?after={after_job}"):
        page = get(client, url)
        assert "foreign" not in page.text
        assert not [link for link in page.links() if "foreign" in link]


@pytest.mark.parametrize(
    "url",
    [
        "/jobs/nope",
        "/jobs/inj_%00",
        "/pairs/ds_pears",
        "/jobs?after=%ff%fe",
        "/jobs?after=%27--",
        "/jobs?after=inj_foreign",
        "/jobs/inj_finished/pairs?after=pair_foreign",
        "/fragments/list/jobs?after=WyJwYWlycyJd",
        "/fragments/list/secrets",
        "/training/" + "x" * 5000,
    ],
)
def test_bad_addresses_are_a_page_not_found(client: TestClient, rows: Filled, url: str) -> None:
    assert "Overview" in get(client, url, 404).text


def test_an_address_without_a_page_is_told_to_a_browser_as_a_page(client: TestClient) -> None:
    browser = {"accept": "text/html,application/xhtml+xml"}
    shown = client.get("/nowhere", headers=browser)
    assert (shown.status_code, "There is no such page" in shown.text) == (404, True)
    for headers, url in (({}, "/nowhere"), (browser, "/v1/nowhere")):
        told = client.get(url, headers=headers)
        assert (told.status_code, told.headers["content-type"]) == (404, "application/problem+json"), url


def test_bad_filters_are_a_page_not_found(client: TestClient, rows: Filled) -> None:
    for query in ("kind=%00", "kind=" + "x" * 500, "type=%3Cscript%3E", "evidence=%F0%9F%92%A9"):
        get(client, f"/jobs/{rows.finished}/pairs?{query}", 404)
        get(client, f"/pairs/{rows.step_pairs[0]}?{query}", 404)


def test_an_empty_workspace_tells_what_to_do_next(client: TestClient) -> None:
    page = get(client, "/")
    assert "errata demo" in page.text
    assert {"/new/jobs", "/new/datasets", "/new/training", "/new/evaluations"} <= set(page.links())
    for section in ("jobs", "datasets", "training", "evaluations"):
        assert "Nothing here yet" in get(client, f"/{section}").text


def test_long_lists_are_cut_into_pages_that_miss_and_repeat_nothing(database: Database, rows: Filled) -> None:
    with database.begin() as session:
        template = session.get_one(PairRow, rows.step_pairs[0])
        columns = {c.key: getattr(template, c.key) for c in PairRow.__table__.columns}
        for i in range(25):
            session.add(PairRow(**columns | {"id": f"pair_more{i}", "pair_key": f"step:more:{i:02}:calculation"}))
    with database.read() as session:
        seen: list[str] = []
        after: str | None = None
        while True:
            found, after = pairs.page_of(session, rows.finished, pairs.Filters(type="step"), after, limit=7)
            assert len(found) <= 7
            seen += [pair.row.id for pair in found]
            if after is None:
                break
        assert sorted(seen) == sorted([*rows.step_pairs, *(f"pair_more{i}" for i in range(25))])
        now = session.scalars(db_now().select()).one()
        jobs = overview.listing(session, "ws_default", now, "jobs", limit=2)
        rest = overview.listing(session, "ws_default", now, "jobs", jobs.more, limit=2)
        assert len({entry.row.id for entry in (*jobs.entries, *rest.entries)}) == 3
        assert rest.more is None


def test_the_overview_costs_a_bounded_number_of_queries(client: TestClient, database: Database, rows: Filled) -> None:
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    get(client, "/")
    assert len(statements) < 50
    assert not [s for s in statements if s.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))]


@pytest.fixture
def key(database: Database) -> str:
    with database.begin() as session:
        return create_key(session, "viewer", scopes=["read"])[1]


def test_once_keys_exist_a_browser_signs_in_with_one(client: TestClient, rows: Filled, key: str) -> None:
    assert "Sign in with an API key" in get(client, "/", 401).text
    assert "Sign in" in get(client, f"/pairs/{rows.step_pairs[0]}", 401).text
    for wrong in ("", "nonsense", key[:-1] + ("0" if key[-1] != "0" else "1"), "errata_é_x"):
        refused = client.post("/sign-in", data={"key": wrong})
        assert refused.status_code == 401
        assert COOKIE not in refused.headers.get("set-cookie", "")
    accepted = client.post("/sign-in", data={"key": f" {key} "}, headers={"origin": "http://127.0.0.1:8000"})
    assert (accepted.status_code, accepted.headers["location"]) == (303, "/")
    cookie = accepted.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "Pears by the dozen" in get(client, "/").text
    assert client.get("/v1/injection-jobs").status_code == 401  # the cookie opens pages only


def test_another_site_cannot_sign_a_visitor_in(client: TestClient, rows: Filled, key: str) -> None:
    answer = client.post("/sign-in", data={"key": key}, headers={"origin": "https://elsewhere.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_key_opens_its_own_workspace_only(client: TestClient, database: Database, rows: Filled) -> None:
    with database.begin() as session:
        key = create_key(session, "other", workspace="other", scopes=["read"], expires_in=timedelta(hours=1))[1]
    client.cookies.set(COOKIE, key)
    assert get(client, f"/jobs/{rows.foreign}").text
    get(client, f"/jobs/{rows.finished}", 404)
    client.cookies.set(COOKIE, "errata_gone_gone")
    assert "Sign in" in get(client, "/", 401).text
