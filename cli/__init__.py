"""The ``errata`` command. Here: how a command fails, and where its log goes; every command needs this first.

Imports nothing heavy. It cannot stand in ``cli.main``, which ``python -m`` loads under another name.
"""

from __future__ import annotations

import logging
import os
import sys


class CliError(Exception):
    """Why a command cannot start or go on, in one line that says what to do.

    ``status``: 1 in general, 3 a job that did not succeed, 4 a service that does not answer, 5 a key that is missing or
    may not do this, 130 stopped by Ctrl-C. Wrong arguments end with 2, which is typer's.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def configure_logging() -> None:
    """Log to standard error. The level is ``ERRATA_LOG_LEVEL`` (default: WARNING). Raises CliError for another word."""
    level = os.environ.get("ERRATA_LOG_LEVEL", "WARNING").upper()
    if level not in logging.getLevelNamesMapping():
        raise CliError(f"ERRATA_LOG_LEVEL={level} is no level; use DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # The in-memory broker has no host; kombu warns of it once per connection.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
