"""Each filter of pairs is answered from an index, in order: what the databases say of the very statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from api.pages import pairs
from models.base import new_id
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.session import Database
from models.workspaces import ProblemRow
from tests.api.conftest import CheckedClient, bring, post_job, post_problems

PAIRS = 3_000
KINDS = ("calculation", "operator", "omission")


@pytest.fixture
def job_id(client: CheckedClient, database: Database) -> str:
    """A job with thousands of pairs: most are alike, a few differ in each column."""
    set_id = post_problems(client)
    bring(client, set_id)
    job_id = str(post_job(client, set_id)["id"])
    with database.begin() as session:
        shard = session.scalars(select(Shard.id)).first()
        workspace = session.get_one(InjectionJob, job_id).workspace_id
        problems = session.scalars(select(ProblemRow.id).order_by(ProblemRow.position)).all()
        solution = new_id("sol")
        place = {"job_id": job_id, "shard_id": shard}
        session.add(SolutionRow(id=solution, **place, problem_id=problems[0], sample_index=0, source="s", text="t"))
        session.flush()
        common = {**place, "workspace_id": workspace, "solution_id": solution, "question": "q", "source": "s"}
        session.execute(insert(PairRow), [{**common, **_pair(at, list(problems))} for at in range(PAIRS)])
    analyze(database)
    return job_id


def analyze(database: Database) -> None:
    """As autovacuum does: statistics, and on PostgreSQL which pages an index alone may answer for."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE pairs" if database.is_postgres else "ANALYZE")


def _pair(at: int, problems: list[str]) -> dict[str, Any]:
    rare = at % 500 == 7
    return {
        "id": f"pair_{at:06d}",
        "pair_key": str(at),
        "problem_id": problems[4 if rare else at % 4],
        "type": "full" if rare else "step",
        "error_kind": None if rare else KINDS[at % 2],
        "form": "consistent" if rare else "stands",
        "editor": "slip" if rare else "rule",
        "evidence_kind": "replay" if rare else "contradiction",
        "prefix": "",
        "chosen": f"c{at}",
        "rejected": f"r{at}",
    }


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements over pairs that run meanwhile, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "FROM pairs" in statement:
            found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any, *, by_index: bool = False) -> str:
    """How the database would answer a statement; ``by_index``: if the table were too large to be read whole."""
    explain = "EXPLAIN " if database.is_postgres else "EXPLAIN QUERY PLAN "
    with database.engine.connect() as connection:
        if by_index and database.is_postgres:
            for other in ("enable_seqscan", "enable_bitmapscan"):
                connection.exec_driver_sql(f"SET LOCAL {other} = off")
        rows = connection.exec_driver_sql(explain + statement, parameters).all()
    return "\n".join(str(row[-1]) for row in rows)


def is_searched(told: str, column: str) -> bool:
    """Whether a plan finds the rows of a column's value in an index, and does not look for them among others."""
    if "Filter" in told or "->" in told or "Index Cond" in told:
        return not any(column in line for line in told.splitlines() if "Filter:" in line)
    return f"{column}=?" in told


FILTERS: list[dict[str, str]] = [
    {},
    {"type": "step"},
    {"type": "full"},
    {"error_kind": "calculation"},
    {"error_kind": "nowhere"},
    {"form": "consistent"},
    {"editor": "slip"},
    {"editor": "words"},
    {"evidence": "replay"},
    {"evidence": "divergence"},
]


def test_no_filter_reads_or_sorts_what_it_does_not_show(client: CheckedClient, database: Database, job_id: str) -> None:
    problem = client.get("/v1/pairs", params={"type": "full", "limit": 1}).json()["data"][0]["problem"]
    for one in [*FILTERS, {"problem": problem}]:
        for of_job in ({}, {"job": job_id}):
            asked = {**one, **of_job, "limit": "2"}
            with statements(database) as found:
                first = client.get("/v1/pairs", params=asked).json()
                if first["next"]:
                    client.get("/v1/pairs", params={**asked, "after": first["next"]})
            assert found
            for statement, parameters in found:
                told = plan(database, statement, parameters)
                for costly in ("Seq Scan", "Sort", "SCAN", "TEMP B-TREE"):
                    assert costly not in told, f"{asked}: {told}"
                for name in one:
                    column = {"evidence": "evidence_kind", "problem": "problem_id"}.get(name, name)
                    assert is_searched(told, column), f"{asked}: {told}"


def test_pages_of_a_filter_hold_every_pair_once(client: CheckedClient, job_id: str) -> None:
    for one, count in (({"form": "consistent"}, 6), ({"type": "full", "job": job_id}, 6), ({"editor": "words"}, 0)):
        seen: list[str] = []
        page: dict[str, Any] = {"next": None, "has_more": True}
        while page["has_more"]:
            after = {"after": page["next"]} if page["next"] else {}
            page = client.get("/v1/pairs", params={**one, "limit": 4, **after}).json()
            seen += [pair["id"] for pair in page["data"]]
        assert len(seen) == len(set(seen)) == count
        assert seen == sorted(seen)


def listing(found: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The statements that look for pairs, without those that read some by their ids."""
    return [each for each in found if "WHERE pairs.id = " not in each[0] and "WHERE pairs.id IN" not in each[0]]


def assert_bounded(asked: str, database: Database, found: list[tuple[str, Any]]) -> None:
    """No statement reads pairs that it does not show, or sorts them."""
    assert found
    for statement, parameters in found:
        told = plan(database, statement, parameters, by_index=True)
        assert "Seq Scan on pairs" not in told, f"{asked}: {told}"
        assert "SCAN pairs" not in told, f"{asked}: {told}"
        if "GROUP BY" not in statement:  # groups a few pairs that an index found
            for sorted_ in ("Sort", "TEMP B-TREE"):
                assert sorted_ not in told, f"{asked}: {told}"


PAGE_FILTERS = ("", "type=step", "type=full", "kind=calculation", "kind=nowhere", "editor=slip", "evidence=replay")
REVIEWS = ("review=accepted", "review=rejected", "review=none", "review=not_rejected")


def test_no_filter_of_a_jobs_page_reads_or_sorts_what_it_does_not_show(
    client: CheckedClient, database: Database, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does a pair's page, which knows its neighbors and number, or the search for a text."""
    monkeypatch.setattr(pairs, "COUNT_LIMIT", 20)  # of 3,000: as 10,000 are of a million
    monkeypatch.setattr(pairs, "SEARCHED", 20)
    for filters in (*PAGE_FILTERS, *REVIEWS, "q=nowhere"):
        with statements(database) as found:
            page = client.get(f"/jobs/{job_id}/pairs?{filters}").raise_for_status().text
            client.get(f"/pairs/pair_000500?{filters}").raise_for_status()
            if "after=" in page:
                after = page.partition("after=")[2].partition('"')[0].partition("&")[0]
                client.get(f"/jobs/{job_id}/pairs?{filters}&after={after}").raise_for_status()
        listed = listing(found)
        assert_bounded(filters, database, listed)
        name, _, _ = filters.partition("=")
        column = {"type": "type", "kind": "error_kind", "editor": "editor", "evidence": "evidence_kind"}.get(name)
        for statement, parameters in listed:
            if column and "GROUP BY" not in statement:
                told = plan(database, statement, parameters, by_index=True)
                assert is_searched(told, column), f"{filters}: {told}"


def test_where_most_pairs_are_rejected_the_others_are_told_in_the_index(
    client: CheckedClient, database: Database, job_id: str
) -> None:
    """Those without a review, and those not rejected, are no range of an index: no rejected one is read for them."""
    with database.begin() as session:
        session.execute(update(PairRow).values(review="rejected"))
        session.execute(update(PairRow).where(PairRow.pair_key.like("%508")).values(review="accepted"))
        session.execute(update(PairRow).where(PairRow.pair_key.like("%509")).values(review=None))
    analyze(database)
    counts = {"review=accepted": 3, "review=none": 3, "review=not_rejected": 6, "review=rejected": 40}
    for review, count in counts.items():
        for address in (f"/v1/pairs?{review}&limit=40", f"/v1/pairs?{review}&job={job_id}&limit=40"):
            with statements(database) as found:
                answer = client.get(address).json()
            assert len(answer["data"]) == count
            assert [pair["id"] for pair in answer["data"]] == sorted(pair["id"] for pair in answer["data"])
            for statement, parameters in listing(found):
                told = plan(database, statement, parameters, by_index=True)
                in_index = "Index Only Scan" in told or "COVERING INDEX" in told
                assert "SCAN pairs" not in told, f"{address}: {told}"
                assert in_index or is_searched(told, "review") or not database.is_postgres, f"{address}: {told}"
        with statements(database) as found:
            page = client.get(f"/jobs/{job_id}/pairs?{review}").raise_for_status().text
        assert page.count("/pairs/pair_") >= count
