"""The ``errata`` command. Here: how a command fails, and where its log goes; every command needs this first.

Imports nothing heavy. It cannot stand in ``cli.main``, which ``python -m`` loads under another name.
"""

from __future__ import annotations

import logging
import os
import sys


class CliError(Exception):
    """Why a command cannot start or go on, in one line that says what to do."""


def configure_logging() -> None:
    """Log to standard error. The level is ``ERRATA_LOG_LEVEL`` (default: WARNING). Raises CliError for another word."""
    level = os.environ.get("ERRATA_LOG_LEVEL", "WARNING").upper()
    if level not in logging.getLevelNamesMapping():
        raise CliError(f"ERRATA_LOG_LEVEL={level} is no level; use DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # The in-memory broker has no host; kombu warns of it once per connection.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
