"""The ``errata`` command. Here: how a command fails, and where its log goes; every command needs this first.

Imports nothing heavy. It cannot stand in ``cli.main``, which ``python -m`` loads under another name.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from models.logs import BROKER, Lines

_ROOMS = ("api", "cli", "demo", "models", "workers")
# How celery.worker.consumer.consumer begins what it says at every attempt to connect (celery 5.7).
_BROKER_AWAY = ("consumer: Cannot connect to", "Connection to broker lost", "No hostname was supplied")


class CliError(Exception):
    """Why a command cannot start or go on, in one line that says what to do.

    ``status``: 1 in general, 3 a job that did not succeed, 4 a service that does not answer, 5 a key that is missing or
    may not do this, 130 stopped by Ctrl-C. Wrong arguments end with 2, which is typer's.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def read_secrets() -> None:
    """Take settings from the files of the folder ``ERRATA_SECRETS``, each named as its variable, in any case.

    So containers get passwords as mounted files (Docker's and Kubernetes' secrets) and no environment shows them. What
    the environment sets already stays. White space around a value is dropped; folders and names with a dot in front,
    which Kubernetes puts there, are left out. Raises CliError where the folder or a file cannot be read.
    """
    folder = os.environ.get("ERRATA_SECRETS")
    if not folder:
        return
    try:
        for file in sorted(Path(folder).iterdir()):
            if not file.name.startswith(".") and file.is_file():
                os.environ.setdefault(file.name.upper(), file.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else "a file of it is no text in UTF-8, or holds NUL"
        raise CliError(f"ERRATA_SECRETS={folder}: {told}; give a folder of files, each named as its setting") from None


def configure_logging() -> None:
    """Log to standard error, one line per record, without secrets (models.logs).

    ``ERRATA_LOG_LEVEL`` (default INFO) is that of our own lines; libraries say what is WARNING or worse, and more only
    at DEBUG. ``ERRATA_LOG_FORMAT`` is json or text, by default text at a terminal. Raises CliError for other words.
    """
    level = os.environ.get("ERRATA_LOG_LEVEL", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise CliError(f"ERRATA_LOG_LEVEL={level} is no level; use DEBUG, INFO, WARNING or ERROR")
    form = os.environ.get("ERRATA_LOG_FORMAT", "text" if sys.stderr.isatty() else "json").lower()
    if form not in ("json", "text"):
        raise CliError(f"ERRATA_LOG_FORMAT={form} is no format; use json or text")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(as_json=form == "json", messages=level == "DEBUG"))
    handler.addFilter(once_per_outage)
    others = level if level == "DEBUG" else max(logging.WARNING, logging.getLevelNamesMapping()[level])
    logging.basicConfig(level=others, handlers=[handler])
    for room in _ROOMS:
        logging.getLogger(room).setLevel(level)
    # The in-memory broker has no host; kombu warns of it once per connection.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
    # The pool reports every connection that a stopped database took with it, each with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def once_per_outage(record: logging.LogRecord) -> bool:
    """Whether a line of Celery's is to be written: of all it says while it tries to reach the broker, the first."""
    if not record.name.startswith(("celery.worker", "kombu")):
        return True
    if record.name.endswith("consumer.connection") and record.levelno <= logging.INFO:
        BROKER.back(logging.getLogger("workers"))
        return False
    text = str(record.msg)
    if any(sign in text for sign in _BROKER_AWAY):
        BROKER.away(logging.getLogger("workers"), "its connection was lost")
        return False
    return True
