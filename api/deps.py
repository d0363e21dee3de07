"""What every route gets: the process's services, and who is asking.

Routes are ``def`` and open their own short sessions, with the commit inside the ``with`` block and hints sent after it.
Sessions are no dependency on purpose: a session dependency holds its connection (on SQLite the write lock) while the
request waits for a thread of the pool, and once enough requests wait for the lock no thread is left for its holder.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from api.settings import ApiSettings
from models.session import Database
from models.settings import StoreSettings
from workers.dispatch import Dispatcher


@dataclass(frozen=True)
class Api:
    """The services of one API process, made by the composition root."""

    db: Database
    store: StoreSettings
    dispatcher: Dispatcher
    settings: ApiSettings
    previews: BoundedSemaphore

    @classmethod
    def of(cls, db: Database, store: StoreSettings, dispatcher: Dispatcher, settings: ApiSettings) -> Api:
        """The services, and the slots that bound what this process starts."""
        return cls(db, store, dispatcher, settings, BoundedSemaphore(settings.previews))


def get_api(request: Request) -> Api:
    """The services of the application that serves this request."""
    state: Any = request.app.state
    return cast(Api, state.api)


ApiDep = Annotated[Api, Depends(get_api)]
