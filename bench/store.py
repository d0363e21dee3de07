"""A PostgreSQL store with many pairs, made in seconds by the server itself: ``add_store(database, 1_000_000)``.

One finished injection job of small sums: problems, a right and a wrong solution each, three step pairs and a full pair,
shards, and the summary that its status reads. The texts are those of real pairs (``texts="whole"``), or a few
characters (``texts="short"``) where only the number of rows counts. Rows are made by ``INSERT ... SELECT`` over
``generate_series``; indexes of a table that was empty are built behind its rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, text

from bench.store_texts import PAIRS, PROBLEMS, RARE_KIND, SHORT, SOLUTIONS, WHOLE
from errata.funnel import Funnel
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE

PAIRS_PER_PROBLEM = 4
PROBLEMS_PER_SHARD = 125
_BATCH = 62_500  # problems whose rows one statement writes: 250,000 pairs
_TABLES = ("problems", "solutions", "pairs")

__all__ = ["PAIRS_PER_PROBLEM", "PROBLEMS_PER_SHARD", "RARE_KIND", "Store", "add_store"]


class Store(NamedTuple):
    """What ``add_store`` made: ids of the job and of its problem set, and how many pairs there are."""

    job_id: str
    problem_set_id: str
    pairs: int


def add_store(
    database: Database,
    pairs: int,
    *,
    name: str = "store",
    workspace_id: str = DEFAULT_WORKSPACE,
    texts: Literal["whole", "short"] = "whole",
    tell: bool = False,
) -> Store:
    """Write a finished job with ``pairs`` pairs (rounded up to whole problems of four) into a migrated database.

    ``name`` distinguishes the ids of several stores in one database. ``tell`` reports progress to standard error. Its
    statements have no time limit. Foreign keys are not checked where the role may leave that out (a superuser's
    ``session_replication_role``): every row names rows made here. Raises ValueError on SQLite.
    """
    if not database.is_postgres:
        raise ValueError("database: a store is made by PostgreSQL's own functions; give a PostgreSQL URL")
    problems = -(-pairs // PAIRS_PER_PROBLEM)
    store = Store(f"inj_{name}", f"pset_{name}", problems * PAIRS_PER_PROBLEM)
    values = {"name": name, "workspace": workspace_id, "job": store.job_id, "set": store.problem_set_id}
    with database.engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        _leave_foreign_keys(connection)
        _add_owners(connection, values, store, problems)
        with _indexes_last(connection):
            for start in range(0, problems, _BATCH):
                stop = min(start + _BATCH, problems)
                given = {**values, "start": start, "stop": stop, "per": PROBLEMS_PER_SHARD}
                for statement in _statements(texts):
                    _execute(connection, statement, given)
                if tell:
                    print(f"{stop * PAIRS_PER_PROBLEM:,} of {store.pairs:,} pairs", file=sys.stderr, flush=True)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        # As autovacuum would within the minute: statistics, and which pages an index alone may answer for.
        connection.exec_driver_sql("VACUUM (ANALYZE) problems, solutions, pairs, shards")
    return store


def _leave_foreign_keys(connection: Connection) -> None:
    if connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")):
        connection.execute(text("SET LOCAL session_replication_role = replica"))


def _statements(texts: str) -> Sequence[str]:
    parts = WHOLE if texts == "whole" else SHORT
    return [_filled(statement, parts) for statement in (PROBLEMS, SOLUTIONS, PAIRS)]


def _filled(statement: str, parts: dict[str, str]) -> str:
    for mark, expression in parts.items():
        statement = statement.replace(f"<{mark}>", expression)
    return statement


def _execute(connection: Connection, statement: str, values: dict[str, Any]) -> None:
    # The texts hold colons: each is escaped but those of parameters.
    named = [name for name in values if f":{name}:" in statement]
    for name in named:
        statement = statement.replace(f":{name}:", f"\0{name}\0")
    statement = statement.replace(":", "\\:")
    for name in named:
        statement = statement.replace(f"\0{name}\0", f":{name}")
    connection.execute(text(statement), {name: values[name] for name in named})


def _add_owners(connection: Connection, values: dict[str, Any], store: Store, problems: int) -> None:
    """The workspace, the problem set, the job, its summary and its shards."""
    kinds = Funnel().add("problems", "total", count=problems).add("pairs", "total", count=store.pairs)
    kinds.add("samples", "total", count=2 * problems)
    shards = -(-problems // PROBLEMS_PER_SHARD)
    given = {
        **values,
        "problems": problems,
        "shards": shards,
        "per": PROBLEMS_PER_SHARD,
        "funnel": json.dumps(kinds.to_dict()),
        "groups": json.dumps([["pair", "done", shards, problems]]),
        "config": json.dumps({"preset": "rules"}),
    }
    for statement in _OWNERS:
        _execute(connection, statement, given)


_OWNERS = (
    "INSERT INTO workspaces (id, name, created_at) VALUES (:workspace:, :workspace:, now()) ON CONFLICT DO NOTHING",
    "INSERT INTO problem_sets (id, workspace_id, name, domain, problem_count, content_sha256, rejected, created_at)"
    " VALUES (:set:, :workspace:, :name:, 'math', :problems:, '0', '[]', now())",
    "INSERT INTO injection_jobs (id, workspace_id, problem_set_id, name, config, prompt_versions, funnel, state,"
    " partial, created_at, started_at, finished_at) VALUES (:job:, :workspace:, :set:, :name:,"
    " CAST(:config: AS JSONB), '{}', CAST(:funnel: AS JSONB), 'succeeded', false, now(), now(), now())",
    "INSERT INTO job_summaries (job_id, counts, groups)"
    " VALUES (:job:, CAST(:funnel: AS JSONB), CAST(:groups: AS JSONB))",
    "INSERT INTO shards (id, injection_job_id, position, start, stop, stage, state, ledger, fence, failures,"
    " interruptions, alone, created_at) SELECT 'shard_' || :name: || n, :job:, n, n * :per:,"
    " least((n + 1) * :per:, :problems:), 'pair', 'done', '{}', 1, 0, 0, false, now()"
    " FROM generate_series(0, :shards: - 1) AS n",
)


@contextmanager
def _indexes_last(connection: Connection) -> Iterator[None]:
    """Without the indexes of the tables that hold nothing yet meanwhile; those of constraints stay."""
    dropped: list[str] = []
    for table in _TABLES:
        if connection.scalar(text(f"SELECT EXISTS (SELECT 1 FROM {table})")):
            continue
        for name, definition in connection.execute(_INDEXES, {"table": table}).all():
            connection.exec_driver_sql(f'DROP INDEX "{name}"')
            dropped.append(definition)
    yield
    connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
    for definition in dropped:
        connection.exec_driver_sql(definition.replace("%", "%%"))


_INDEXES = text(
    "SELECT i.relname, pg_get_indexdef(x.indexrelid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
    " WHERE x.indrelid = CAST(:table AS regclass)"
    " AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = x.indexrelid)"
)
