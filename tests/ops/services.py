"""Whether PostgreSQL and Redis answer: one line for `make test`, exit status 0 when both do."""

from __future__ import annotations

import os
import sys

import redis
from sqlalchemy import create_engine
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
