"""Log lines: ids, no secrets, no data of users, one line per outage."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import CliError, configure_logging, once_per_outage
from models.logs import BROKER, Lines, Outage, bound

SECRETS = [
    ("postgresql+psycopg://errata:p@ss/w0rd@db:5432/errata", "p@ss"),
    ("postgresql://errata:p%40ss@db/errata", "p%40ss"),
    ("redis://:s3cret@redis:6379/0 refused", "s3cret"),
    ("key errata_0123456789_abcdefabcdef was sent", "abcdefabcdef"),
    ("Authorization: Bearer eyJhbGciOi.J9.sig", "eyJhbGciOi"),
    ("{'authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
    ('{"api_key": "sk-live-1234567890"}', "1234567890"),
    ("OPENAI_API_KEY=sk-proj-abcdefgh1234", "abcdefgh1234"),
    ("token hf_AbCdEfGhIjKl in the header", "AbCdEfGhIjKl"),
    ("POSTGRES_PASSWORD=hunter2 is set", "hunter2"),
    ("password='two words'", "two words"),
]


def written(log: Any, as_json: bool = True, messages: bool = False) -> str:
    """What ``log`` (a function of a logger) writes."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(Lines(as_json=as_json, messages=messages))
    logger = logging.Logger("workers.test", logging.DEBUG)
    logger.addHandler(handler)
    log(logger)
    return out.getvalue()


@pytest.mark.parametrize(("text", "secret"), SECRETS)
@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_written(text: str, secret: str, as_json: bool) -> None:
    def write(log: logging.Logger) -> None:
        log.warning("it said: %s", text)
        log.warning(text.replace("%", "%%"))
        log.warning("it failed", extra={"url": text})
        try:
            raise ConnectionError(text)
        except ConnectionError as error:
            log.exception("it raised")
            log.error("it raised %s", error)

    assert secret not in written(write, as_json)
    assert secret not in written(write, as_json, messages=True)


def test_what_an_exception_quotes_of_a_prompt_is_not_written() -> None:
    def write(log: logging.Logger) -> None:
        try:
            raise KeyError("Janet's ducks lay 16 eggs per day")
        except KeyError as error:
            log.error("a stage failed", exc_info=error)
            log.warning("a stage failed: %s", error)

    lines = written(write)
    assert "Janet" not in lines
    first = json.loads(lines.splitlines()[0])
    assert first["error"].startswith("KeyError in write (test_logs.py:")
    assert "Janet" in written(write, messages=True), "at DEBUG it is told"


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_record_is_one_line_whatever_it_holds(message: str, value: str) -> None:
    for as_json in (True, False):
        lines = written(lambda log: log.info("%s", message, extra={"value": value}), as_json)
        assert lines.endswith("\n")
        assert len(lines.splitlines()) == 1
        if as_json:
            assert set(json.loads(lines)) == {"time", "level", "logger", "message", "value"}


def test_lines_carry_what_is_bound_and_only_there() -> None:
    def write(log: logging.Logger) -> None:
        with bound(request="r"), bound(job="j", shard="s"):
            log.info("inside", extra={"pairs": 3})
            thread = threading.Thread(target=lambda: log.info("another thread"))
            thread.start()
            thread.join()
        log.info("outside")

    inside, other, outside = map(json.loads, written(write).splitlines())
    assert (inside["request"], inside["job"], inside["shard"], inside["pairs"]) == ("r", "j", "s", 3)
    assert not {"request", "job"} & (other.keys() | outside.keys())
    assert " request=r job=j shard=s" in written(write, as_json=False)


def test_an_outage_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage, log = Outage("database"), logging.getLogger("workers.test")
    outage.back(log)
    for _ in range(1000):
        outage.away(log, OSError(111, "Connection refused"))
    outage.back(log)
    outage.back(log)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "the database is away: ConnectionRefusedError: Connection refused"),
        ("INFO", "the database is back"),
    ]
    assert vars(caplog.records[1])["attempts"] == 1000


def test_of_what_celery_says_about_a_broker_that_is_away_the_first_line_stays(caplog: pytest.LogCaptureFixture) -> None:
    BROKER.back(logging.getLogger("workers.test"))  # an earlier test of this process may have lost its broker
    caplog.clear()
    caplog.set_level(logging.INFO)
    name = "celery.worker.consumer.consumer"

    def record(text: str, level: int = logging.ERROR, logger: str = name) -> logging.LogRecord:
        return logging.LogRecord(logger, level, "", 0, text, (), None)

    for _ in range(50):
        assert not once_per_outage(record("consumer: Cannot connect to %s: %s.\n%s\n"))
    assert once_per_outage(record("another trouble"))
    assert BROKER.lasts
    once_per_outage(record("Connected to %s", logging.INFO, "celery.worker.consumer.connection"))
    assert [r.getMessage() for r in caplog.records] == [
        "the broker is away: its connection was lost",
        "the broker is back",
    ]


def test_the_format_is_json_or_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_LOG_FORMAT", "xml")
    with pytest.raises(CliError, match="ERRATA_LOG_FORMAT=xml is no format; use json or text"):
        configure_logging()
