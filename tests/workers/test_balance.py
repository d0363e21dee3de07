"""Which of a job's shards goes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from models import leases
from models.base import db_now
from models.jobs import Shard
from models.leases import Lease
from models.session import Database
from models.states import ShardState, Stage
from tests.workers.road import (
    PROBLEMS,
    make_job,
    make_services,
    shards,
    through,
)
from workers.app import GENERATION, GRADING
from workers.lifecycle import Hint, hint_for
from workers.runner import run_shard
from workers.stages.base import Finish, StageContext


def at_stages(database: Database, *stages: Stage, running: tuple[Stage, ...] = ()) -> list[str]:
    """Shards of one job moved to these stages, the last ones as another worker's; their ids."""
    make_job(database, shard_size=PROBLEMS // (len(stages) + len(running)))
    ids = [shard.id for shard in shards(database)]
    with database.begin() as session:
        for shard_id, stage in zip(ids, [*stages, *running], strict=True):
            session.execute(update(Shard).where(Shard.id == shard_id).values(stage=stage))
        for shard_id in ids[len(stages) :]:
            session.execute(update(Shard).where(Shard.id == shard_id).values(state=ShardState.RUNNING, worker="w"))
    return ids


BALANCED = [
    # the hint's shard is the first; what waits, what runs, and which is to go
    ((Stage.SAMPLE, Stage.SAMPLE, Stage.EDIT), (Stage.SAMPLE,), 2),
    ((Stage.EDIT, Stage.SAMPLE, Stage.CONTINUE), (Stage.EDIT,), 2),
    ((Stage.EDIT, Stage.SAMPLE, Stage.EDIT, Stage.EDIT), (Stage.EDIT, Stage.CONTINUE), 1),
    ((Stage.SAMPLE, Stage.SAMPLE, Stage.GRADE), (Stage.SAMPLE,), 0),
    ((Stage.SAMPLE, Stage.EDIT, Stage.CONTINUE, Stage.EDIT), (Stage.EDIT, Stage.SAMPLE), 2),
    ((Stage.SAMPLE, Stage.EDIT, Stage.SAMPLE, Stage.EDIT), (Stage.EDIT, Stage.SAMPLE), 1),
    ((Stage.PROVE, Stage.PAIR, Stage.GRADE, Stage.SAMPLE), (), 2),
    ((Stage.GRADE, Stage.PROVE), (Stage.GRADE,), 1),
    # no more wait than run: the longest way goes first, which would otherwise be gone alone at the end
    ((Stage.CONTINUE, Stage.EDIT), (Stage.EDIT, Stage.EDIT), 1),
    ((Stage.EDIT, Stage.SAMPLE), (Stage.SAMPLE, Stage.CONTINUE), 1),
    ((Stage.CONTINUE,), (Stage.EDIT,), 0),
]


@pytest.mark.parametrize(("waiting", "running", "goes"), BALANCED)
def test_shards_of_a_job_go_where_fewest_are(
    waiting: tuple[Stage, ...], running: tuple[Stage, ...], goes: int, database: Database, tmp_path: Path
) -> None:
    """So that some sample while others edit. The hint is used up: its own shard goes by that of what went instead."""
    ids = at_stages(database, *waiting, running=running)
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    queue = hint_for(ids[0], waiting[0]).queue
    assert run_shard(services, ids[0], queue) == "done"
    assert [shard.state for shard in shards(database)].index(ShardState.DONE) == goes
    assert services.dispatcher.hints == []  # type: ignore[attr-defined]


def test_what_is_not_due_or_runs_alone_is_not_taken_for_another(database: Database, tmp_path: Path) -> None:
    ids = at_stages(database, Stage.SAMPLE, Stage.EDIT, Stage.CONTINUE)
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.id == ids[1]).values(next_run_at=db_now(60)))
        session.execute(update(Shard).where(Shard.id == ids[2]).values(alone=True))
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    assert run_shard(services, ids[0], GENERATION) == "done"
    assert shards(database)[0].state == ShardState.DONE


def test_a_late_hint_runs_no_stage_of_another_queue(database: Database, tmp_path: Path) -> None:
    """A generation worker must not prove: the engine would wait for it."""
    ids = at_stages(database, Stage.PROVE)
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    assert run_shard(services, ids[0], GENERATION) == "not claimed"
    assert run_shard(services, ids[0], GRADING) == "done"


def test_as_many_hints_as_waiting_shards_run_them_all_whichever_they_name(database: Database, tmp_path: Path) -> None:
    """A hint that went to another shard left its own to that one's: none is sent again, none is dropped."""
    ids = at_stages(database, Stage.SAMPLE, Stage.EDIT, Stage.CONTINUE, running=(Stage.SAMPLE,))
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    ran = [run_shard(services, shard_id, GENERATION) for shard_id in ids]
    assert ran == ["done", "done", "done", "not claimed"], "the last finds none that waits"
    assert services.dispatcher.hints == []  # type: ignore[attr-defined]


def test_a_shard_that_runs_alone_goes_when_no_other_waits(database: Database, tmp_path: Path) -> None:
    ids = at_stages(database, Stage.EDIT, Stage.SAMPLE)
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.id == ids[0]).values(alone=True))
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    assert run_shard(services, ids[0], GENERATION) == "done"
    assert [shard.state for shard in shards(database)] == [ShardState.QUEUED, ShardState.DONE]
    assert run_shard(services, ids[1], GENERATION) == "done"


def test_proof_and_pairs_follow_each_other_without_a_message(database: Database, tmp_path: Path) -> None:
    """What waits for another queue is hinted as ever."""
    ids = at_stages(database, Stage.PROVE)
    stages = {Stage.PROVE: through(Stage.PAIR), Stage.PAIR: through(Stage.EDIT)}
    services = make_services(database, tmp_path, stages)
    assert run_shard(services, ids[0], GRADING) == "advanced"
    assert services.dispatcher.hints == [Hint(ids[0], GENERATION)]  # type: ignore[attr-defined]


def test_a_worker_that_is_stopping_leaves_the_next_stage_to_a_message(database: Database, tmp_path: Path) -> None:
    ids = at_stages(database, Stage.PROVE)

    def last(_: StageContext) -> Finish:
        services.stopping.set()
        return Finish(Stage.PAIR)

    services = make_services(database, tmp_path, {str(Stage.PROVE): last})
    assert run_shard(services, ids[0], GRADING) == "advanced"
    assert services.dispatcher.hints == [Hint(ids[0], GRADING)]  # type: ignore[attr-defined]


def test_a_shard_another_worker_was_faster_at_costs_no_hint(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen by two workers at once, one of them takes it: the other goes on to the next."""
    ids = at_stages(database, Stage.EDIT, Stage.EDIT)
    services = make_services(database, tmp_path, dict.fromkeys(Stage, through(None)))
    claim = leases.claim

    def late(session: Session, shard_id: str, *rest: Any, **known: Any) -> Lease | None:
        monkeypatch.setattr(leases, "claim", claim)
        session.execute(update(Shard).where(Shard.id == shard_id).values(state=ShardState.RUNNING, worker="faster"))
        return claim(session, shard_id, *rest, **known)

    monkeypatch.setattr(leases, "claim", late)
    assert run_shard(services, ids[0], GENERATION) == "done"
    assert [shard.state for shard in shards(database)] == [ShardState.RUNNING, ShardState.DONE]
