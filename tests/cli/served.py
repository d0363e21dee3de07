"""A service in a thread over a database of SQLite, for commands that speak HTTP. No worker takes up its jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from api.app import create_app
from api.settings import ApiSettings
from models.base import Base
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[tuple[str, Database]]:
    """Its address and its database, both in ``folder``."""
    database = Database(f"sqlite:///{folder / 'errata.db'}")
    Base.metadata.create_all(database.engine)
    store = StoreSettings(ERRATA_HOME=folder / "home")  # type: ignore[call-arg]
    app = create_app(database, store, KeptHints(database), ApiSettings(**settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", database
    finally:
        server.should_exit = True
        thread.join()
        database.dispose()
