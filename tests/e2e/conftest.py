"""What end-to-end tests share: a home with the miniature registered, and the settings that make waiting short."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.admin import add_model
from cli.common import upgrade_database
from demo import problems
from demo.run import MODEL
from models.settings import StoreSettings
from tests.processes import environment
from workers.engines.registry import DEFAULT_ENGINE

#: Leases in seconds instead of minutes; what they protect from is the same.
QUICK = {
    "ERRATA_LEASE_SECONDS": "4",
    "ERRATA_HEARTBEAT_SECONDS": "1",
    "ERRATA_SWEEP_SECONDS": "1",
    "ERRATA_RESEND_AFTER_SECONDS": "2",
    "ERRATA_TORCH_THREADS": "1",
    "ERRATA_TRAINER_THREADS": "1",
}
Prepare = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Settings for a new home whose database knows the miniature."""

    def prepare(**more: str) -> dict[str, str]:
        env = environment(tmp_path_factory.mktemp("home"), **QUICK, **more)
        # What `errata migrate` and `errata models add` do, without two processes that first import everything.
        store = StoreSettings(ERRATA_HOME=env["ERRATA_HOME"], DATABASE_URL=more.get("DATABASE_URL"))
        upgrade_database(store)
        add_model(store, "miniature", DEFAULT_ENGINE, {"path": str(MODEL)})
        return env

    return prepare


def train_problems(count: int) -> list[dict[str, str]]:
    """Rows of a problem set of the miniature's kind."""
    return problems.rows(problems.generate(count, seed=5))
