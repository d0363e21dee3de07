"""Where things are by default, whatever else the environment holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.settings import StoreSettings


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ERRATA_HOME", "DATABASE_URL", "BROKER_URL", "ERRATA_FILES_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_home_is_not_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setenv("FILES_URL", "s3://elsewhere")
    monkeypatch.chdir(tmp_path)
    settings = StoreSettings()
    assert settings.home == Path("data")
    assert settings.database_url == f"sqlite:///{tmp_path / 'data' / 'errata.db'}"
    assert settings.files == str(tmp_path / "data" / "files")
    assert settings.embedded


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_means_psycopg_3(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://u@h/d")
    monkeypatch.setenv("BROKER_URL", "redis://h/0")
    settings = StoreSettings()
    assert settings.database_url == "postgresql+psycopg://u@h/d"
    assert not settings.embedded
