"""Fixtures every room shares: databases of both kinds, each test with one of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import OperationalError

from models.migrate import Base
from models.session import Database
from tests.lacking import lacking
from tests.ops.services import POSTGRES, REDIS, own_broker, own_database, redis_answers

# Drawn examples are the same at every run, and a busy machine fails no test by taking long over one.
settings.register_profile("errata", deadline=None, derandomize=True)
settings.load_profile("errata")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by their argument: a packed file holds the time, and pytest's processes must find equal names."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, the longest of all before them: two processes then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name != "test_deaths.py", item.path not in slow))


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a PostgreSQL server where databases may be created; without one the test is skipped (fails under CI)."""
    engine = create_engine(POSTGRES, connect_args={"connect_timeout": 3})
    try:
        with engine.connect():
            return POSTGRES
    except OperationalError as error:
        lacking(f"no PostgreSQL at {POSTGRES}: {error}")
    finally:
        engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own, dropped afterwards."""
    with own_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every table: a copy takes a tenth of the time that making the tables takes."""
    path = tmp_path_factory.mktemp("template") / "errata.db"
    database = Database(f"sqlite:///{path}")
    Base.metadata.create_all(database.engine)
    database.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """The name of a database with every table, to be copied."""
    with own_database(postgres_server) as url:
        database = Database(url)
        Base.metadata.create_all(database.engine)
        database.dispose()
        yield str(make_url(url).database)


@pytest.fixture
def tables_url(postgres_server: str, postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own with every table, dropped afterwards."""
    with own_database(postgres_server, postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database, once on SQLite and once on PostgreSQL; empty but for tests of ``database``."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'errata.db'}"
    return str(request.getfixturevalue("tables_url" if "database" in request.fixturenames else "postgres_url"))


@pytest.fixture
def database(database_url: str, sqlite_template: Path) -> Iterator[Database]:
    """A database with every table, once on SQLite and once on PostgreSQL."""
    if database_url.startswith("sqlite"):
        shutil.copyfile(sqlite_template, str(make_url(database_url).database))
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a randomly initialised model of the miniature's shape, with its real tokenizer."""
    import torch

    from demo.build_model import build_tokenizer, shape  # heavy: only where a test needs weights

    folder = tmp_path_factory.mktemp("random_model")
    tokenizer = build_tokenizer(seed=1, count=500)
    torch.manual_seed(0)
    from transformers import LlamaForCausalLM

    LlamaForCausalLM(shape(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    """A database with every table, on SQLite alone: for what does not differ between the two."""
    shutil.copyfile(sqlite_template, tmp_path / "errata.db")
    database = Database(f"sqlite:///{tmp_path / 'errata.db'}")
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real problems and solutions: ERRATA_SHARED_DATA, or ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ERRATA_SHARED_DATA", beside))
    if not (folder / "gsm8k" / "model-solutions-400.jsonl").exists():
        if "ERRATA_SHARED_DATA" in os.environ:
            pytest.fail(f"no real data in {folder}, where ERRATA_SHARED_DATA points")
        if beside.parent.is_dir():
            lacking(f"no real data in {folder}")
        pytest.skip(f"no real data in {folder}, which is no part of the project; set ERRATA_SHARED_DATA")
    return folder


@pytest.fixture
def broker_url() -> Iterator[str]:
    """A Redis database of the test's own (one of 1 to 15, by a lock in database 0)."""
    if not redis_answers():
        pytest.fail(f"no Redis at {REDIS}")
    with own_broker() as url:
        yield url
