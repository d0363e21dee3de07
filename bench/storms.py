"""Storms of SIGKILLs over an injection job, and what they lost: the parts of ``bench.chaos`` and of tests/chaos."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from errata.funnel import Funnel, FunnelError
from models.jobs import EditRow, InjectionJob, PairRow, ProblemOutcome, Shard, SolutionRow
from models.session import Database
from models.states import TERMINAL
from tests.chaos.forked import Nursery
from tests.chaos.posted import state_of
from tests.ops.own_services import OwnRedis, OwnServer

SETTINGS = {
    "ERRATA_LEASE_SECONDS": "8",
    "ERRATA_HEARTBEAT_SECONDS": "2",
    "ERRATA_SWEEP_SECONDS": "2",
    "ERRATA_RESEND_AFTER_SECONDS": "4",
    "ERRATA_LOG_LEVEL": "ERROR",
}
WORKER = ("worker", "--queues", "generation,grading")
_TELL_SECONDS = 10.0
_BEFORE_THE_LAST = 0.8  # of the shards: the rest is still to do when the last kill comes
_SHARDS_PER_LOOK = 50_000  # a look counts the shards that are done: the more there are, the rarer it is
Pairs = dict[str, Counter[tuple[str, str, str]]]


def pairs_of(database: Database, job_id: str) -> Pairs:
    """By question, the texts of its pairs, each with how often it is there."""
    row = PairRow
    found: Pairs = {}
    with database.read() as session:
        for question, *texts in session.execute(
            select(row.question, row.prefix, row.chosen, row.rejected).where(row.job_id == job_id)
        ):
            found.setdefault(question, Counter())[(texts[0], texts[1], texts[2])] += 1
    return found


def compare(found: Pairs, calm: Pairs, times: Counter[str]) -> tuple[int, int]:
    """Pairs lost and doubled; ``times``: how often the job asks each question."""
    lost = duplicated = 0
    for question, count in times.items():
        wanted = Counter({pair: count * each for pair, each in calm.get(question, Counter()).items()})
        have = found.get(question, Counter())
        lost += (wanted - have).total()
        duplicated += (have - wanted).total()
    return lost, duplicated


def ledger_adds_up(database: Database, job_id: str) -> bool:
    """Whether the job's funnel balances, is that of its shards, and counts the rows that are there."""
    with database.read() as session:
        job = session.get_one(InjectionJob, job_id)
        ledgers = session.scalars(select(Shard.ledger).where(Shard.injection_job_id == job_id)).all()
        rows = {
            table: session.scalar(select(func.count()).select_from(table).where(table.job_id == job_id))
            for table in (SolutionRow, EditRow, PairRow, ProblemOutcome)
        }
    total = Funnel.total(ledger["funnel"] for ledger in ledgers if ledger.get("funnel"))
    try:
        total.check()
    except FunnelError:
        return False
    counts = total.counts
    told = [counts["samples"]["total"], counts["edits"]["total"], counts["pairs"]["total"], counts["problems"]["total"]]
    return told == list(rows.values()) and total.to_dict() == (job.funnel or {})


class Storm:
    """A job under kills: workers are killed in turn by chance, and replaced."""

    def __init__(
        self,
        database: Database,
        nursery: Nursery,
        rng: random.Random,
        servers: Sequence[OwnServer],
        note: Callable[[], None] = lambda: None,
    ) -> None:
        """``note`` is called each time progress is told: what it keeps outlives the storm's own process."""
        self._database, self._nursery, self._rng, self._servers = database, nursery, rng, servers
        self._note = note
        self.kills = self.service_kills = self.done = 0

    def run(self, job_id: str, shards: int, kills: int, services: int, seconds: float) -> str:
        """Spread the kills over four fifths of the job; the state it has at its end, or after so many ``seconds``.

        A storm that goes on (``kills`` and ``service_kills`` set before) kills only what is left to kill.
        """
        workers = [self._nursery.start(*WORKER) for _ in range(3)]
        sweeper = self._nursery.start("sweeper")
        began = told = time.monotonic()
        state, first = self._look(job_id), self.done
        while state not in TERMINAL and time.monotonic() < began + seconds:
            if time.monotonic() > told + _TELL_SECONDS:
                told = time.monotonic()
                self._tell(shards, kills, (self.done - first) / (told - began), told - began)
            if self.kills < kills and self.done >= _BEFORE_THE_LAST * shards * self.kills / kills:
                time.sleep(self._rng.uniform(0, 0.2))
                self.kills += 1
                if services and self.kills % services == 0:
                    self._lose_a_service()
                else:
                    at = self._rng.randrange(len(workers))
                    workers[at].kill_tree()
                    workers[at] = self._nursery.start(*WORKER)
            else:
                workers = [self._nursery.start(*WORKER) if each.ended else each for each in workers]
                sweeper = self._nursery.start("sweeper") if sweeper.ended else sweeper
                time.sleep(0.05 + shards / _SHARDS_PER_LOOK)
            state = self._look(job_id)
        return state

    def _tell(self, shards: int, kills: int, pace: float, seconds: float) -> None:
        left = f", {(shards - self.done) / pace / 60:.0f} minutes left" if pace else ""
        told = f"{seconds:.0f} s: {self.done} of {shards} shards, {self.kills} of {kills} kills"
        print(f"{told}, {pace:.2f} shards a second{left}", file=sys.stderr, flush=True)
        self._note()

    def _lose_a_service(self) -> None:
        """Kill one of the servers and start it again; every second Redis has lost its hints as well."""
        server = self._rng.choice(self._servers)
        if isinstance(server, OwnRedis) and self._rng.random() < 0.5:
            server.wipe()
        server.restart()
        self.service_kills += 1

    def _look(self, job_id: str) -> str:
        try:
            state, self.done = state_of(self._database, job_id)
        except SQLAlchemyError:  # its server is being started again
            return ""
        return state
