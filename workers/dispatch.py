"""The one door from the API to the workers: shards are planned in its transaction, hints are sent after the commit."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError

from models.logs import BROKER
from workers.app import GENERATION, GRADING, RUN_SHARD
from workers.dataset_templates import trained_with_template
from workers.engines.chat_templates import knows_chat_template
from workers.engines.registry import can_score, price_of
from workers.lifecycle import (
    Hint,
    cancel,
    complete_owner,
    missing_positions,
    pause,
    plan_dataset,
    plan_evaluation,
    plan_injection,
    plan_pilot,
    plan_positions,
    plan_rejudging,
    plan_retry,
    queue_of,
    resume,
    retry_quarantined,
)
from workers.model_entries import DEFAULT_ENGINE, addresses, doubts, entry_config, place_settings
from workers.training.config import PRESETS as TRAINING_PRESETS
from workers.training.config import TABLES as TRAINING_TABLES
from workers.training.config import TrainingConfig
from workers.training.config import resolve as resolve_training
from workers.training.protocol import CannotTrain as TrainingRefused
from workers.training.supervise.exchange import fetch_dataset
from workers.training.supervise.preview import PreviewFailed
from workers.training.supervise.preview import preview as preview_training
from workers.training.supervise.registry import checkpoint_folder
from workers.training.supervise.registry import preview_spec as prepare_preview

__all__ = [
    "DEFAULT_ENGINE",
    "GENERATION_ROLE",
    "QUEUES",
    "TRAINING_PRESETS",
    "TRAINING_TABLES",
    "Dispatcher",
    "Hint",
    "PreviewFailed",
    "TrainingConfig",
    "TrainingRefused",
    "addresses",
    "can_score",
    "cancel",
    "checkpoint_folder",
    "complete_owner",
    "doubts",
    "entry_config",
    "fetch_dataset",
    "knows_chat_template",
    "missing_positions",
    "pause",
    "place_settings",
    "plan_dataset",
    "plan_evaluation",
    "plan_injection",
    "plan_pilot",
    "plan_positions",
    "plan_rejudging",
    "plan_retry",
    "prepare_preview",
    "preview_training",
    "price_of",
    "queue_of",
    "resolve_training",
    "resume",
    "retry_quarantined",
    "trained_with_template",
]

log = logging.getLogger(__name__)
QUEUES = (GENERATION, GRADING)
GENERATION_ROLE = GENERATION  # of the beats of processes that generate (models.heartbeats)


class Dispatcher:
    """Sends hints. Never raises: a job is accepted when its rows are committed, and the sweeper re-sends lost hints."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def answers(self) -> bool:
        """Whether the broker can be reached; takes at most the connect timeout (3 s)."""
        try:
            with self._app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
        except Exception as error:  # every transport has its own
            log.debug("the broker does not answer: %s", error)
            return False
        return True

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue; 0 where it is not there yet, or the broker does not answer."""
        try:
            with self._app.connection_or_acquire() as connection:
                try:
                    with connection.channel() as channel:
                        return int(channel.queue_declare(queue, passive=True).message_count)
                # How a transport says that a queue is not there (an empty one, on Redis). Handled inside: an error that
                # reaches the pool costs the connection.
                except connection.channel_errors:
                    return 0
        except Exception as error:  # every transport has its own
            log.debug("the length of %s is not known: %s", queue, error)
            return 0

    def send(self, hints: Iterable[Hint]) -> int:
        """Send hints until the broker refuses one, and say how many went out. Call after commit.

        One refusal costs at most the connect timeout (3 s); the rest are then left to the sweeper.
        """
        sent = 0
        for hint in hints:
            try:
                # Not retried here: a request waits for this, and the sweeper sends again what was lost.
                self._app.send_task(
                    RUN_SHARD, args=[hint.shard_id, hint.queue], queue=hint.queue, retry=False, ignore_result=True
                )
            except (OperationalError, OSError) as error:
                BROKER.away(log, error)  # the sweeper sends the rest
                return sent
            sent += 1
        if sent:
            BROKER.back(log)
        return sent
