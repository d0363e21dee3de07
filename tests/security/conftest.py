"""The API's client, for tests of what nobody should be able to do with it."""

from tests.api.conftest import local, store

__all__ = ["local", "store"]
