"""One service for both clients: with the miniature, a worker and a trainer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Prepare, prepared
from tests.processes import Running

__all__ = ["prepared"]


@pytest.fixture(scope="session")
def live(prepared: Prepare) -> Iterator[str]:
    """The address of a service."""
    with Running("serve", "--port", "0", env=prepared()) as serve:
        yield serve.url()
