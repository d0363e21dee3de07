"""The part of a generation worker that answers completions, in threads of its own: no shard of a job is waited for."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from models.completions import CompletionRow, any_waiting, claim, write
from models.logs import DATABASE
from models.session import passing
from workers.completions.answer import Answer
from workers.engines.base import EngineError, ModelSpec
from workers.runner import Services
from workers.stages.loading import load_spec

log = logging.getLogger(__name__)


class Answerer:
    """Looks for completions that wait, every ``completion_poll_seconds``, and answers up to ``completion_threads``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._free = threading.Semaphore(services.settings.completion_threads)

    def run(self) -> None:
        """Answer until the worker stops; what is being answered then is given back."""
        services = self._services
        with ThreadPoolExecutor(services.settings.completion_threads, "completions") as pool:
            while not services.stopping.wait(services.settings.completion_poll_seconds):
                try:
                    while self._free.acquire(blocking=False):
                        if not self._take(pool):
                            break
                except SQLAlchemyError as error:
                    if not passing(error):
                        log.exception("completions cannot be looked for")
                    DATABASE.away(log, error)
                except Exception:
                    log.exception("completions cannot be looked for")

    def _take(self, pool: ThreadPoolExecutor) -> bool:
        """Begin with the next one; False, and the place is free again, where none waits."""
        begun = False
        try:
            if (found := self._claimed()) is not None:
                pool.submit(self._answer, *found)
                begun = True
        finally:
            if not begun:
                self._free.release()
        return begun

    def _claimed(self) -> tuple[CompletionRow, ModelSpec] | None:
        db = self._services.db
        with db.look() as session:
            if not any_waiting(session):
                return None
        with db.begin() as session:
            row = claim(session, self._services.name)
            if row is None:
                return None
            try:
                return row, load_spec(session, row.language_model_id)
            except EngineError:
                gone = {"kind": "refused", "message": "the language model is no longer registered", "wait_seconds": 0}
                write(session, row.id, self._services.name, 1, (), state="failed", error=gone)
                return None

    def _answer(self, row: CompletionRow, model: ModelSpec) -> None:
        try:
            Answer(self._services.db, self._services.engines, row, self._services.stopping).run(model)
        except Exception:
            log.exception("a completion cannot be answered")
        finally:
            self._free.release()


def start_answering(services: Services) -> threading.Thread:
    """Answer completions in a thread until the worker stops."""
    thread = threading.Thread(target=Answerer(services).run, name="completions", daemon=True)
    thread.start()
    return thread
