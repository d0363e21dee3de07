"""``errata health``: each part of the service, its state, and what to do; for people, health checks and monitors."""

from __future__ import annotations

import json
import socket

import httpx
from sqlalchemy.exc import SQLAlchemyError

from cli import CliError
from cli.common import reach_database
from models.health import Part, check_broker, check_database, check_processes, check_storage, overall, unreachable
from models.settings import StoreSettings
from workers.app import create_celery
from workers.dispatch import Dispatcher
from workers.hearing import deaf_workers


def health(store: StoreSettings, url: str | None, *, as_json: bool = False, strict: bool = False) -> None:
    """Print the parts. Raises CliError, which names each that fails; with ``strict`` each that is degraded as well."""
    parts = find_parts(store, url)
    state = overall(parts)
    if as_json:
        print(json.dumps({"status": state, "parts": [part.as_json() for part in parts]}))
    else:
        for part in parts:
            if part.state == "degraded":
                print(_line(part))
    wanted = ("failing", "degraded") if strict else ("failing",)
    if missing := [part for part in parts if part.state in wanted]:
        raise CliError("; ".join(map(_line, missing)))
    if not as_json:
        print("healthy")


def _line(part: Part) -> str:
    return f"{part.name}: {part.detail}" + (f"; {part.remedy}" if part.remedy else "")


def find_parts(store: StoreSettings, url: str | None) -> list[Part]:
    """Every part as this machine sees it; the first of them alone where the database cannot be reached."""
    found: list[Part] = []
    try:
        db = reach_database(store)
    except CliError as error:
        return [Part("database", "failing", str(error)), *_api(url)]
    try:
        found = check_database(db)
        if overall(found) != "failing":
            found += check_processes(db, names=True)
    except SQLAlchemyError as error:
        found.append(unreachable(error))
    finally:
        db.dispose()
    return [*found, _broker(store), check_storage(store), *_hearing(store), *_api(url)]


def _broker(store: StoreSettings) -> Part:
    if store.embedded:
        return Part("broker", "ok", "messages stay inside the process of `errata serve`")
    part = check_broker(Dispatcher(create_celery(store.broker_url)).answers)
    # A health check of a container is of a role that does nothing without its broker.
    return part if part.state == "ok" else Part(part.name, "failing", part.detail, part.remedy)


def _hearing(store: StoreSettings) -> list[Part]:
    deaf = deaf_workers(store.workers_folder, socket.gethostname())
    return [Part("hearing", "failing", told, "the worker connects anew by itself, then restarts") for told in deaf]


def _api(url: str | None) -> list[Part]:
    if url is None:
        return []
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError as error:
        return [Part("api", "failing", f"{url} does not answer: {error}", "start `errata api`, or give another --url")]
    if answer.status_code >= 400:
        return [Part("api", "failing", f"{url} does not answer: HTTP {answer.status_code}", "see its log")]
    return [Part("api", "ok", f"{url} answers")]
