"""How a command says no, and where its log goes. Imports nothing heavy: every command needs this first."""

from __future__ import annotations

import logging
import os
import sys


class Refused(Exception):
    """Why a command cannot start or go on, in one line that says what to do."""


def configure_logging() -> None:
    """Log to standard error. The level is ``ERRATA_LOG_LEVEL`` (default: WARNING). Raises Refused for another word."""
    level = os.environ.get("ERRATA_LOG_LEVEL", "WARNING").upper()
    if level not in logging.getLevelNamesMapping():
        raise Refused(f"ERRATA_LOG_LEVEL={level} is no level; use DEBUG, INFO, WARNING or ERROR")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # The in-memory broker has no host; kombu warns of it once per connection.
    logging.getLogger("kombu.connection").setLevel(logging.ERROR)
