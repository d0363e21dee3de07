"""What an operator reads: log lines with the ids of request, job and shard, without secrets or data of users.

Lines carry what ``bound`` says of the thread or task that writes them. Passwords in URLs, API keys and tokens are
struck out. What an exception says may quote a prompt, a solution or a row, so a line names its type and where it was
raised; its message is told at level DEBUG, and stands in the job's events.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_context: ContextVar[dict[str, str]] = ContextVar("log_context", default={})  # noqa: B039  # never changed in place
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LONGEST = 4000
_STRUCK = "***"
_SECRETS = (
    (re.compile(r"(?<=://)[^/\s'\"]*@"), f"{_STRUCK}@"),  # also a password that holds "@"
    (re.compile(r"\berrata_\w+"), f"errata_{_STRUCK}"),
    (re.compile(r"\b(Bearer|Basic)\s+[^\s'\",}]+", re.I), rf"\1 {_STRUCK}"),
    (re.compile(r"\b(?:sk|hf|ghp|xox[abp])[-_][\w-]{8,}"), _STRUCK),
    (
        re.compile(
            r"""(["']?\b\w*(?:password|passwd|secret|token|api[-_]?key|authorization)["']?\s*[=:]\s*)"""
            r"""(?:"[^"]*"|'[^']*'|[^\s,;&}]+)""",
            re.I,
        ),
        rf"\1{_STRUCK}",
    ),
)


@contextlib.contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Lines written inside carry these, besides what is bound already."""
    token = _context.set({**_context.get(), **ids})
    try:
        yield
    finally:
        _context.reset(token)


def redact(text: str) -> str:
    """The text without passwords, keys and tokens, on one line, of at most 4,000 characters."""
    text = text[: 2 * _LONGEST]
    for pattern, struck in _SECRETS:
        text = pattern.sub(struck, text)
    plain = text[:_LONGEST].encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in plain)


class Lines(logging.Formatter):
    """One line per record: JSON, or text for people (``as_json`` false). ``messages``: tell what exceptions say."""

    def __init__(self, *, as_json: bool, messages: bool = False) -> None:
        super().__init__()
        self._as_json, self._messages = as_json, messages

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, level, logger, message, ids and extra fields."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(self._message(record)),
            **_context.get(),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        told |= {name: value if isinstance(value, int | float) else redact(str(value)) for name, value in extra.items()}
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = self._error(record.exc_info[1])
        if self._as_json:
            return json.dumps(told, ensure_ascii=False)
        head = f"{told.pop('time')} {told.pop('level')} {told.pop('logger')}: {told.pop('message')}"
        return " ".join([head, *(f"{name}={value}" for name, value in told.items())])

    def _message(self, record: logging.LogRecord) -> str:
        """The message, in which an exception among its arguments is told by its type alone."""
        arguments = record.args
        if isinstance(arguments, tuple) and not self._messages:
            plain = tuple(told(each) if isinstance(each, BaseException) else each for each in arguments)
            try:
                return str(record.msg) % plain if plain else str(record.msg)
            except (TypeError, ValueError):
                return str(record.msg)
        return record.getMessage()

    def _error(self, error: BaseException) -> str:
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        where = " < ".join(
            f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames[::-1]
        )
        said = f": {redact(str(error))}" if self._messages else ""
        return f"{type(error).__name__}{said} in {where or 'no frame'}"


def told(error: BaseException) -> str:
    """What a line says of an error: its type, and of one of the operating system what that says."""
    original = getattr(error, "orig", None)
    name = type(error).__name__ if original is None else f"{type(error).__name__} ({type(original).__name__})"
    system = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return name + system


class Outage:
    """Something that this process needs and that goes away at times: one line when it does, one when it is back."""

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()
        self._since: float | None = None
        self._attempts = 0

    @property
    def lasts(self) -> bool:
        """Whether it is away, as far as was told."""
        return self._since is not None

    def away(self, log: logging.Logger, error: BaseException | str) -> None:
        """It was not to be reached. Only the first time since it was there writes a line."""
        with self._lock:
            self._attempts += 1
            if self._since is not None:
                return
            self._since = time.monotonic()
        why = told(error) if isinstance(error, BaseException) else error
        log.warning("the %s is away: %s", self._what, why)

    def back(self, log: logging.Logger) -> None:
        """It answered. Writes a line if it was away."""
        if self._since is None:  # unlocked: the usual case costs nothing
            return
        with self._lock:
            since, attempts = self._since, self._attempts
            self._since, self._attempts = None, 0
        if since is not None:
            seconds = round(time.monotonic() - since, 1)
            log.info("the %s is back", self._what, extra={"seconds": seconds, "attempts": attempts})


DATABASE = Outage("database")
BROKER = Outage("broker")
_engines: dict[str, Outage] = {}


def engine_outage(name: str) -> Outage:
    """The outage of the engine that serves this language model."""
    return _engines.setdefault(name, Outage(f"engine of {name}"))


def engines_away() -> list[str]:
    """Language models whose engine is away, as far as this process was told."""
    return sorted(name for name, outage in list(_engines.items()) if outage.lasts)
