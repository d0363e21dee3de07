"""Lists are stable while rows are added, on both databases."""

from __future__ import annotations

from itertools import chain

from sqlalchemy import update

from models.base import db_now
from models.session import Database
from models.workspaces import ProblemSet
from tests.api.conftest import CheckedClient, post_problems


def pages(client: CheckedClient, url: str, limit: int) -> list[list[str]]:
    found, after = [], ""
    while True:
        answer = client.get(f"{url}?limit={limit}{after}").json()
        found.append([row["id"] for row in answer["data"]])
        assert answer["has_more"] == (answer["next"] is not None)
        if not answer["has_more"]:
            return found
        after = f"&after={answer['next']}"


def test_every_row_once_whatever_the_page_size(client: CheckedClient, database: Database) -> None:
    sets = [post_problems(client, 1) for _ in range(7)]
    whole = pages(client, "/v1/problem-sets", 100)
    assert whole == [sets[::-1]]
    for limit in (1, 2, 3, 7):
        found = pages(client, "/v1/problem-sets", limit)
        assert list(chain(*found)) == whole[0]
        assert all(len(page) == limit for page in found[:-1])


def test_rows_of_one_instant_are_told_apart(client: CheckedClient, database: Database) -> None:
    sets = [post_problems(client, 1) for _ in range(5)]
    with database.begin() as session:
        now = session.scalar(db_now().select())
        session.execute(update(ProblemSet).values(created_at=now))
    assert list(chain(*pages(client, "/v1/problem-sets", 2))) == sorted(sets, reverse=True)


def test_rows_added_meanwhile_neither_repeat_nor_hide_others(client: CheckedClient) -> None:
    sets = [post_problems(client, 1) for _ in range(4)]
    first = client.get("/v1/problem-sets?limit=2").json()
    post_problems(client, 1)
    rest = client.get(f"/v1/problem-sets?limit=9&after={first['next']}").json()
    assert [row["id"] for row in first["data"] + rest["data"]] == sets[::-1]


def test_a_cursor_belongs_to_its_list(client: CheckedClient) -> None:
    for _ in range(2):
        set_id = post_problems(client)
    cursor = client.get("/v1/problem-sets?limit=1").json()["next"]
    for url in ("/v1/pairs", "/v1/injection-jobs", f"/v1/problem-sets/{set_id}/problems"):
        answer = client.get(f"{url}?after={cursor}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")
    for limit in ("0", "501", "x"):
        assert client.get(f"/v1/pairs?limit={limit}").json()["errors"][0]["field"] == "limit"
