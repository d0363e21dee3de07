"""Reviewing and searching pairs on the pages, and what stands beside a pair."""

from __future__ import annotations

from fastapi.testclient import TestClient

from api.http.auth import create_key
from api.pages import pairs
from api.pages.rendering import COOKIE
from errata.replay import value_chain
from models.curation import Review
from models.jobs import EditRow, PairRow
from models.session import Database
from tests.api.test_pages import client, get, rows
from tests.dashboard_rows import Filled

__all__ = ["client", "rows"]  # fixtures


def test_a_pair_is_rejected_with_a_reason_and_the_next_one_comes(
    client: TestClient, database: Database, rows: Filled
) -> None:
    first, second, _ = rows.step_pairs
    sent = {"verdict": "rejected", "reason": " both are right ", "then": second, "filters": "?type=step"}
    answer = client.post(f"/pairs/{first}/review", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pairs/{second}?type=step")
    assert "Rejected: both are right" in get(client, f"/pairs/{first}").text.replace("\n", "")
    assert first in client.get(f"/jobs/{rows.finished}/pairs?review=rejected").text
    assert second not in client.get(f"/jobs/{rows.finished}/pairs?review=rejected").text
    assert first not in client.get(f"/jobs/{rows.finished}/pairs?review=none").text
    answer = client.post(f"/pairs/{first}/review", data={"verdict": "withdrawn", "then": second})
    assert answer.headers["location"] == f"/pairs/{first}"
    with database.read() as session:
        assert session.get_one(PairRow, first).review is None
        assert [row.verdict for row in session.query(Review).order_by(Review.position)] == ["rejected", "withdrawn"]


def test_what_is_no_review_is_refused(client: TestClient, database: Database, rows: Filled) -> None:
    url = f"/pairs/{rows.step_pairs[0]}/review"
    for sent in ({}, {"verdict": "maybe"}, {"verdict": "rejected", "reason": "x" * 10_001}):
        assert client.post(url, data=sent).status_code == 422, sent
    assert client.post(url, data={"verdict": "accepted"}, headers={"Origin": "http://evil"}).status_code == 403
    assert client.post(f"/pairs/{rows.foreign_pair}/review", data={"verdict": "accepted"}).status_code == 404
    sent = {"verdict": "accepted", "then": "//evil", "filters": "?x=//evil\r\n"}
    assert client.post(url, data=sent).headers["location"] == url.removesuffix("/review")
    get(client, f"/jobs/{rows.finished}/pairs?review=maybe", 404)
    with database.begin() as session:
        _, secret = create_key(session, "reader", scopes=["read"])
    client.cookies.set(COOKIE, secret)
    assert client.post(url, data={"verdict": "accepted"}).status_code == 403
    assert "Take back" not in client.get(url.removesuffix("/review")).text


def test_a_text_is_searched_a_bounded_stretch_at_a_time(
    client: TestClient, database: Database, rows: Filled, monkeypatch: object
) -> None:
    page = get(client, f"/jobs/{rows.finished}/pairs?q=3+APPLES")
    assert [link for link in page.links() if link.startswith("/pairs/")] == [f"/pairs/{rows.step_pairs[2]}?q=3+APPLES"]
    assert "No pair passes" in get(client, f"/jobs/{rows.finished}/pairs?q=100%25_").text, (
        "a % is a sign, not a pattern"
    )
    monkeypatch.setattr(pairs, "SEARCHED", 1)  # type: ignore[attr-defined]
    seen, after = [], None
    with database.read() as session:
        for _ in range(10):
            found, after = pairs.page_of(session, rows.finished, pairs.Filters(q="apples"), after)
            seen += [one.row.id for one in found]
            if after is None:
                break
    assert seen == [rows.step_pairs[2]]


def test_other_edits_of_the_step_stand_beside_a_pair(client: TestClient, database: Database, rows: Filled) -> None:
    with database.begin() as session:
        pair = session.get_one(PairRow, rows.step_pairs[0])
        where = {"job_id": pair.job_id, "shard_id": pair.shard_id, "solution_id": pair.solution_id, "step_index": 0}
        where |= {"problem_id": pair.problem_id, "start": 0, "end": 9, "original": "6 * 12 = 72"}
        session.add(EditRow(id="edit_mine", kind="calculation", edited="6 * 12 = 82", **where))
        session.add(EditRow(id="edit_other", kind="operator", edited="6 + 12 = 72", reason="no_change", **where))
        session.flush()
        pair.edit_id = "edit_mine"
    page = get(client, f"/pairs/{rows.step_pairs[0]}")
    assert "Other edits of this step" in page.text
    assert "6 + 12 = 72" in page.text


def test_the_values_that_an_error_changes_are_followed_to_the_answer() -> None:
    solution = (
        "Step 1: 6 * 12 = 72 pears.\nStep 2: 72 - 45 = 27 pears.\nStep 3: 27 / 3 = 9 jars.\nStep 4: The answer is 9."
    )
    question = "Mara packs 6 crates of 12 pears, sells 45 and takes 3 for a jar. How many jars?"
    chain = value_chain(question, solution, 0, "Step 1: 6 * 14 = 84 pears.\n")
    assert [(one.step, str(one.before), str(one.after)) for one in chain] == [
        (0, "72", "84"),
        (1, "27", "39"),
        (2, "9", "13"),
    ]
    assert value_chain(question, solution, 0, "Step 1: nothing is computed.\n") == []
