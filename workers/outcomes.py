"""What becomes of one try to run a shard's stage, and how it is told: in the log, as metrics, and in a trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from models.leases import Lease
from models.logs import bound
from models.telemetry.metrics import STAGES, timed
from models.telemetry.tracing import span

log = logging.getLogger(__name__)


class ShardOutcome(StrEnum):
    """What became of one try to run a shard's stage; for logs and tests."""

    STOPPING = "stopping"  # this worker starts nothing more
    NOT_CLAIMED = "not claimed"
    ADVANCED = "advanced"
    CONTINUES = "continues"  # advanced, and this worker runs the next stage at once: run_shard never answers it
    DONE = "done"
    CANCELLED = "cancelled"
    RELEASED = "released"
    PARKED = "parked"  # its requests went in batches; it is run again when those have ended
    FAILED = "failed"
    QUARANTINED = "quarantined"
    INTERRUPTED = "interrupted"
    ENGINE_LOST = "engine lost"
    DISCARDED = "discarded"  # the lease was lost: another worker has the shard, nothing was written


# After all others the job may have no shard left to run: a shard that should wait again ends instead where its owner is
# being cancelled (models.leases), and then nobody else would complete the owner.
JOB_GOES_ON = frozenset(
    {ShardOutcome.ADVANCED, ShardOutcome.CONTINUES, ShardOutcome.INTERRUPTED, ShardOutcome.DISCARDED}
)
# After these nothing counts towards a job's limits, and the database may be away.
NOTHING_WRITTEN = frozenset(
    {ShardOutcome.INTERRUPTED, ShardOutcome.DISCARDED, ShardOutcome.RELEASED, ShardOutcome.PARKED}
)


@dataclass(slots=True)
class Told:
    """Where the outcome of an observed try is put."""

    outcome: ShardOutcome | None = None


@contextmanager
def observed(lease: Lease) -> Iterator[Told]:
    """Bind the log's lines to the shard meanwhile, time the try, and tell of the outcome that it is given."""
    told = Told()
    stage, ids = str(lease.stage), {"job": lease.owner_id, "shard": lease.shard_id}
    about = {f"errata__{name}": value for name, value in {**ids, "stage": stage, "fence": lease.fence}.items()}
    with (
        bound(**ids, stage=stage),
        timed(STAGES, stage) as label,
        span(f"shard {stage}", "consumer", lease.traceparent, **about) as traced,
    ):
        yield told
        label[0] = str(told.outcome)
        traced.set(errata__outcome=str(told.outcome))
        _log(told.outcome)


def _log(outcome: ShardOutcome | None) -> None:
    if outcome is ShardOutcome.DISCARDED:
        log.warning("the lease was lost; what the stage made is discarded")
    elif outcome is ShardOutcome.QUARANTINED:
        log.error("the shard is quarantined")
    else:
        log.debug("a stage ended", extra={"outcome": str(outcome)})
