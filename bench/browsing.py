"""What each filter of pairs costs at a million pairs: ``python -m bench.browsing --json`` (PostgreSQL).

The application itself, in this process, over a store of ``bench.store`` in a database of its own (or ``--url`` of one
that is there). Every filter of ``/v1/pairs``, alone and within a job, of a job's page of pairs and of a pair's own page
is asked for a first page and the page behind it.

``slowest_ms``: the largest time of a request, the best of ``--rounds`` each, so that other work on the machine hurts
less. ``most_rows``: how many rows of pairs the statements of one request hand to the application at most.
``most_blocks``: how many blocks of 8 KiB they read at most, of memory or disk, whatever else the machine does.
``requests``: all three by request.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import event, select, text

from api.app import create_app
from api.settings import ApiSettings
from bench.service import report
from bench.store import RARE_KIND, add_store
from models import migrate
from models.jobs import InjectionJob, PairRow
from models.session import Database
from models.settings import StoreSettings
from tests.ops.services import own_database
from workers.app import create_celery
from workers.dispatch import Dispatcher

API_FILTERS: tuple[dict[str, str], ...] = (
    {},
    *({"type": type_} for type_ in ("step", "full")),
    *({"error_kind": kind} for kind in ("operator", RARE_KIND, "nowhere")),
    *({"form": form} for form in ("stands", "consistent")),
    *({"editor": editor} for editor in ("rule", "slip", "words")),
    *({"evidence": evidence} for evidence in ("replay", "contradiction", "divergence")),
    *({"review": review} for review in ("accepted", "rejected", "not_rejected", "none")),
    {"error_kind": RARE_KIND, "editor": "slip", "form": "stands", "type": "full"},
)
#: Names of the page's filters where they differ from the API's.
_ON_PAGES = {"error_kind": "kind"}
_LIMIT = 40  # pairs of a page

Statements = list[tuple[str, Any]]


@contextmanager
def statements_over_pairs(database: Database) -> Iterator[Statements]:
    """The statements over pairs that run meanwhile, with their parameters."""
    found: Statements = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if "FROM pairs" in statement:
            found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def explained(database: Database, statement: str, parameters: Any) -> dict[str, Any]:
    """The plan that PostgreSQL ran the statement by: its root node, with what it read."""
    with database.engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        told = connection.exec_driver_sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, parameters)
        return dict(told.scalar_one()[0]["Plan"])


def requests_of(database: Database, job_id: str) -> list[str]:
    """The addresses of all first pages: lists of the API, the job's pages, and one pair under each filter."""
    with database.read() as session:
        pair = session.scalars(
            select(PairRow.id).where(PairRow.job_id == job_id).order_by(PairRow.id).offset(5)
        ).first()
        problem = session.scalars(select(PairRow.problem_id).where(PairRow.id == pair)).one()
    found = [f"/v1/injection-jobs/{job_id}/pairs?limit={_LIMIT}"]
    for filters in (*API_FILTERS, {"problem": problem}):
        told = "&".join(f"{name}={value}" for name, value in filters.items())
        found += [f"/v1/pairs?limit={_LIMIT}&{told}", f"/v1/pairs?limit={_LIMIT}&job={job_id}&{told}"]
        if not filters.keys() & {"problem", "form"}:
            told = "&".join(f"{_ON_PAGES.get(name, name)}={value}" for name, value in filters.items())
            found += [f"/jobs/{job_id}/pairs?{told}", f"/pairs/{pair}?{told}"]
    return [*found, f"/jobs/{job_id}/pairs?q=dollars", f"/jobs/{job_id}/pairs?q=nowhere", f"/jobs/{job_id}"]


def behind(client: TestClient, address: str) -> str | None:
    """The address of the page behind this one, where there is one."""
    answer = client.get(address).raise_for_status()
    if address.startswith("/v1/"):
        cursor = answer.json()["next"]
    else:
        _, mark, rest = answer.text.partition("after=")
        cursor = rest.partition('"')[0].partition("&")[0] if mark else None
    return f"{address}&after={cursor}" if cursor else None


def measure(client: TestClient, database: Database, address: str, rounds: int) -> dict[str, float]:
    """Milliseconds of a request, and the rows and blocks of its statements over pairs."""
    with statements_over_pairs(database) as asked:
        client.get(address).raise_for_status()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(address).raise_for_status()
        taken.append(1000 * (time.perf_counter() - began))
    plans = [explained(database, *each) for each in asked]
    blocks = sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)
    rows = sum(plan["Actual Rows"] for plan in plans)
    return {"ms": round(min(taken), 1), "rows": rows, "blocks": blocks}


def browse(url: str, job_id: str, rounds: int) -> dict[str, Any]:
    """Measure every request over the store at this address."""
    database = Database(url)
    with tempfile.TemporaryDirectory() as folder:
        store = StoreSettings(ERRATA_HOME=Path(folder))
        app = create_app(database, store, Dispatcher(create_celery("memory://")), ApiSettings())
        client = TestClient(app, base_url="http://127.0.0.1:8000")
        found: dict[str, dict[str, float]] = {}
        for address in requests_of(database, job_id):
            pages = [address, behind(client, address)]
            for page in pages:
                if page is not None:
                    name = address + (" (behind)" if page is not address else "")
                    found[name] = measure(client, database, page, rounds)
                    print(found[name], name, file=sys.stderr, flush=True)
    database.dispose()
    most = {name: max(each[name] for each in found.values()) for name in ("ms", "rows", "blocks")}
    return {"slowest_ms": most["ms"], "most_rows": most["rows"], "most_blocks": most["blocks"], "requests": found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the store where none is named, measure, and print one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.browsing", description="What each filter of pairs costs.")
    parser.add_argument("--json", action="store_true", help="accepted for the sake of habit: there is one line of JSON")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--url", help="a PostgreSQL database that holds a store already")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        url = options.url or stack.enter_context(own_database())
        if options.url is None:
            migrate.upgrade(url)
            add_store(Database(url), options.pairs, tell=True)
        with Database(url).read() as session:
            job_id = session.scalars(select(InjectionJob.id)).first()
        if job_id is None:
            raise SystemExit("--url: this database holds no injection job; leave it out, and a store is made")
        report({"pairs": options.pairs, **browse(url, job_id, options.rounds)})


if __name__ == "__main__":
    main()
