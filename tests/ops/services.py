"""PostgreSQL and Redis for tests and benchmarks: whether both answer (for `make test`), and parts of one's own."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

POSTGRES = os.environ.get("ERRATA_TEST_DATABASE_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
REDIS = os.environ.get("ERRATA_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


def postgres_answers() -> bool:
    """Whether the test server accepts a connection within 3 seconds."""
    engine = create_engine(POSTGRES, connect_args={"connect_timeout": 3})
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()


def redis_answers() -> bool:
    """Whether the test broker answers a ping within 3 seconds."""
    try:
        return bool(redis.Redis.from_url(REDIS, socket_connect_timeout=3, socket_timeout=3).ping())
    except redis.RedisError:
        return False


@contextmanager
def own_database(server: str = POSTGRES, template: str = "template1") -> Iterator[str]:
    """The URL of a PostgreSQL database that nobody else uses, empty or a copy of another; dropped afterwards."""
    name = f"errata_test_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        engine.dispose()


@contextmanager
def own_broker() -> Iterator[str]:
    """The URL of a Redis database that nobody else uses (one of 1 to 15, by a lock in database 0), emptied."""
    server = re.sub(r"/\d*$", "", REDIS)
    token = secrets.token_hex(8)
    with redis.Redis.from_url(f"{server}/0") as locks:
        number = next(n for n in range(15, 0, -1) if locks.set(f"errata-test-{n}", token, nx=True, ex=3600))
        with redis.Redis.from_url(f"{server}/{number}") as own:
            own.flushdb()
            try:
                yield f"{server}/{number}"
            finally:
                if locks.get(f"errata-test-{number}") == token.encode():  # else it took an hour, and is another's now
                    own.flushdb()
                    locks.delete(f"errata-test-{number}")


def main() -> int:
    """Say what answers; 0 when both do."""
    missing = [name for name, there in (("PostgreSQL", postgres_answers()), ("Redis", redis_answers())) if not there]
    if missing:
        print(f"services: no {' and no '.join(missing)} here, so the tests marked 'services' are left out")  # noqa: T201
    else:
        print("services: PostgreSQL and Redis answer, both columns are tested")  # noqa: T201
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
