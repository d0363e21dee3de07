"""What grows with the store: ``python -m bench.scale --json`` (PostgreSQL).

The same operations over stores of several sizes, each in a database of its own, take turns in one run: pages of pairs
by each filter, status, lists and the freeze of 10,000 pairs beside ``--pairs`` pairs in all; claims, sweeps and a
status while ``--shards`` shards wait. See bench.scale_sides.

``growth``: by operation, the median time at a larger size by that at the smallest; the worst of the sizes. The goal is
1.5 at most, and 3 with ``--cold``: then a PostgreSQL of the benchmark's own is stopped before each measurement, and
what the system keeps of its files is dropped. ``worst`` is the largest of all. ``blocks``: how many blocks of 8 KiB the
statements of one request read, by size, whatever else the machine does (not of a freeze, which copies).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url, text

from bench.browsing import Statements, explained
from bench.scale_sides import Operations, fill_pairs, fill_shards, pair_operations, shard_operations
from bench.service import report
from models.session import Database
from tests.ops.own_services import OwnPostgres
from tests.ops.services import POSTGRES, own_database
from workers.judge import JudgePool

PAIRS = (10_000, 100_000, 1_000_000)
MANY_PAIRS = 10_000_000
SHARDS = (100, 1_000, 10_000, 100_000)
_EXPLAINED = ("SELECT", "UPDATE", "INSERT", "WITH")

Sides = Mapping[int, Operations]


@contextmanager
def statements_of(database: Database) -> Iterator[Statements]:
    """The statements that run meanwhile and can be explained, with their parameters."""
    found: Statements = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(_EXPLAINED) and not many:
            found.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def blocks_of(database: Database, operation: Callable[[], object]) -> int:
    """How many blocks its statements read, of memory or disk. What they would change is rolled back."""
    with statements_of(database) as asked:
        operation()
    plans = [explained(database, *each) for each in asked]
    return sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)


def medians(sides: Sides, rounds: int, before: Callable[[], None] | None) -> dict[str, dict[int, float]]:
    """Milliseconds of each operation by size. The sizes take turns, so that other work hurts all of them."""
    taken: dict[str, dict[int, list[float]]] = {}
    for name in next(iter(sides.values())):
        taken[name] = {size: [] for size in sides}
        slow = name == "freeze"
        for turn in range(1 + (min(rounds, 3) if slow else rounds)):
            for size, operations in sides.items():
                if before is not None:
                    before()
                began = time.perf_counter()
                operations[name]()
                if turn or before is not None:  # the first fills the caches
                    taken[name][size].append(1000 * (time.perf_counter() - began))
        told = {size: round(statistics.median(each), 2) for size, each in taken[name].items()}
        print(f"{name}: {told}", file=sys.stderr, flush=True)
    return {name: {size: statistics.median(each) for size, each in by.items()} for name, by in taken.items()}


def growth(by_size: Mapping[int, float]) -> float:
    """The worst of the larger sizes by the smallest."""
    smallest, *larger = [by_size[size] for size in sorted(by_size)]
    return round(max(each / smallest for each in larger), 2)


class Server:
    """Where the databases are: the shared server, or with ``--cold`` one of the benchmark's own."""

    def __init__(self, own: OwnPostgres | None) -> None:
        self._own = own
        self.url = POSTGRES if own is None else own.url
        self._databases: list[Database] = []

    def opened(self, url: str) -> Database:
        """A database that ``chill`` knows."""
        self._databases.append(Database(url))
        return self._databases[-1]

    def chill(self) -> None:
        """Start anew with nothing in memory, neither PostgreSQL's nor the system's."""
        if self._own is None:
            raise RuntimeError("only a server of one's own can be stopped")
        engine = create_engine(self.url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
        engine.dispose()
        for database in self._databases:
            database.dispose()
        self._own.kill()
        for path in (self._own.folder / "data").rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._own.start()
        for database in self._databases:
            database.ping()


def compare(
    server: Server, stack: ExitStack, sizes: Sequence[int], args: argparse.Namespace, *, shards: bool
) -> dict[str, Any]:
    """Fill a database for each size, and measure every operation over all of them."""
    sides: dict[int, Operations] = {}
    databases: dict[int, Database] = {}
    judge = stack.enter_context(JudgePool(1))
    for size in sizes:
        url = stack.enter_context(own_database(server.url))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="errata-scale-")))
        if shards:
            fill_shards(url, size)
        else:
            fill_pairs(url, size, "short" if size >= MANY_PAIRS else args.texts)
        databases[size] = server.opened(url)
        sides[size] = (
            shard_operations(databases[size], home) if shards else pair_operations(databases[size], home, judge)
        )
    if args.only:
        sides = {size: {name: run for name, run in each.items() if args.only in name} for size, each in sides.items()}
    found = medians(sides, args.rounds, server.chill if args.cold else None)
    blocks = {
        name: {size: blocks_of(databases[size], sides[size][name]) for size in sizes}
        for name in found
        if name != "freeze"
    }
    for database in databases.values():
        database.dispose()
    rounded = {name: {size: round(each, 2) for size, each in by.items()} for name, by in found.items()}
    return {"growth": {name: growth(by) for name, by in found.items()}, "median_ms": rounded, "blocks": blocks}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="What grows with the store.")
    parser.add_argument("--json", action="store_true", help="accepted for the sake of habit: there is one line of JSON")
    parser.add_argument("--pairs", type=int, nargs="*", default=list(PAIRS), help="sizes; none: leave them out")
    parser.add_argument("--shards", type=int, nargs="*", default=list(SHARDS), help="sizes; none: leave them out")
    parser.add_argument("--texts", choices=("whole", "short"), default="whole", help="of the pairs")
    parser.add_argument("--many", action="store_true", help=f"also {MANY_PAIRS:,} pairs, and all with short texts")
    parser.add_argument("--rounds", type=int, default=15, help="of each operation at each size; of a freeze at most 3")
    parser.add_argument("--only", help="operations whose name holds this text: what one change did")
    parser.add_argument("--cold", action="store_true", help="with nothing in memory, on a server of its own")
    args = parser.parse_args(arguments)
    if args.many:
        args.pairs, args.texts = [*args.pairs, MANY_PAIRS], "short"
    found: dict[str, Any] = {"growth": {}, "median_ms": {}, "blocks": {}}
    with ExitStack() as stack:
        own = None
        if args.cold:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="errata-cold-", ignore_cleanup_errors=True))
            own = OwnPostgres(Path(folder))
            own.start()
            stack.callback(own.kill)
        server = Server(own)
        for sizes, shards in ((sorted(args.pairs), False), (sorted(args.shards), True)):
            if len(sizes) > 1:
                with ExitStack() as databases:
                    part = compare(server, databases, sizes, args, shards=shards)
                for name, each in part.items():
                    found[name] |= each
    name = str(make_url(POSTGRES).get_backend_name())
    told = {"benchmark": "scale", "database": name, "cold": args.cold, "texts": args.texts}
    report({**told, "worst": max(found["growth"].values(), default=None), **found})


if __name__ == "__main__":
    main()
