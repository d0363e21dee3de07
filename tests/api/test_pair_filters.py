"""Each filter of pairs is answered from an index, in order: what the databases say of the very statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select

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
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return job_id


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


def plan(database: Database, statement: str, parameters: Any) -> str:
    """How the database would answer a statement."""
    explain = "EXPLAIN " if database.is_postgres else "EXPLAIN QUERY PLAN "
    with database.engine.connect() as connection:
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
