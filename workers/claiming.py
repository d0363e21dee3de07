"""Which shard a hint is answered with: one of the job whose turn it is, claimed in a short transaction."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from models import leases
from models.choosing import choose_shard
from models.jobs import Shard
from models.leases import Lease
from models.shares import waiting_owners
from models.states import Stage
from workers.lifecycle import STAGE_ORDER, stages_of
from workers.stopping import may_begin

if TYPE_CHECKING:
    from workers.runner import Services

# Whether a shard must run alone is decided per worker: two threads of one worker must not claim at the same moment.
_claim_lock = threading.Lock()


def claim_shard(services: Services, shard_id: str, queue: str | None) -> Lease | None:
    """Claim a shard: without a queue the named one, else one of the job whose turn it is (workers.shares).

    A hint only says that some shard waits: there are as many of them as waiting shards, whichever they name.
    """
    with _claim_lock:
        if queue is None:
            with services.db.begin() as session:
                named = session.get(Shard, shard_id)
                if named is None or not may_begin(session, named.injection_job_id, named.stage, shard_id):
                    return None
                return leases.claim(session, shard_id, *_holder(services))
        with services.db.look() as session:
            waiting = waiting_owners(session, stages_of(queue), shard_id)
        for owner in services.shares.order(queue, waiting):
            # In a transaction each: a job with limits is locked while they are looked at, and two could be a deadlock.
            lease = _claim_of(services, owner.shard_id, queue)
            if lease is not None:
                services.shares.charge(queue, owner, lease.stop - lease.start)
                return lease
        return None


def _holder(services: Services) -> tuple[str, float]:
    return services.name, services.settings.lease_seconds


def _claim_of(services: Services, shard_id: str, queue: str) -> Lease | None:
    """Claim a shard of the named one's job, the best of those that wait in this queue; None: none can be had."""
    with services.db.begin() as session:
        lost_to_another, stages = None, STAGE_ORDER[queue]
        while True:
            chosen = choose_shard(session, shard_id, stages)
            if chosen is None or chosen.shard_id == lost_to_another:
                return None
            if chosen.limited and not may_begin(session, chosen.owner[1], chosen.stage, chosen.shard_id):
                if Stage.SAMPLE not in stages:
                    return None
                stages = tuple(stage for stage in stages if stage != Stage.SAMPLE)
                continue
            known: Any = {"owner": chosen.owner, "begun": chosen.begun, "limited": chosen.limited}
            lease = leases.claim(session, chosen.shard_id, *_holder(services), stages_of(queue), **known)
            if lease is not None:
                return lease
            # Another worker claimed it between the choice and the claim. Other shards still wait: choose again.
            lost_to_another = chosen.shard_id
