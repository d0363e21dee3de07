"""What the documents say is so: commands, settings, links and files exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from cli.main import app
from models.settings import StoreSettings
from tests.api.conftest import openapi_of
from workers.settings import WorkerSettings
from workers.training.supervise.settings import TrainerSettings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md")])
SETTINGS: tuple[type[BaseSettings], ...] = (StoreSettings, ApiSettings, WorkerSettings, TrainerSettings)


def variables() -> dict[str, Any]:
    """Every environment variable with its default."""
    found: dict[str, Any] = {}
    for settings in SETTINGS:
        for name, field in settings.model_fields.items():
            found[field.alias or f"{settings.model_config['env_prefix']}{name}".upper()] = field.default
    return found


def test_every_setting_is_listed_with_its_default() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", text, flags=re.M))
    known = variables()
    assert set(listed) == set(known)
    for name, default in known.items():
        if default is not None:
            assert listed[name] == str(default), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.M):
        assert target in targets, f"{document.name}: make {target}"
    command: Any = typer.main.get_command(app)
    for line in re.findall(r"(?:^|`|bin/)errata ([a-z][a-z ]*)", text, flags=re.M):
        words = line.split()
        assert words[0] in command.commands, f"{document.name}: errata {line}"
        below = getattr(command.commands[words[0]], "commands", None)
        if below and len(words) > 1:
            assert words[1] in below, f"{document.name}: errata {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_routes_exist(document: Path, sqlite_database: Any, tmp_path: Path) -> None:
    from api.app import create_app
    from workers.app import create_celery
    from workers.dispatch import Dispatcher

    store = StoreSettings(ERRATA_HOME=tmp_path)
    application = create_app(sqlite_database, store, Dispatcher(create_celery("memory://")), ApiSettings())
    patterns = [
        re.sub(r"\{[^}]*\}", "[^/]+", path).replace("[^/]+:path", ".+") for path in openapi_of(application)["paths"]
    ]
    patterns += [re.sub(r"\[\^/\]\+$", ".+", pattern) for pattern in patterns if "/files/" in pattern]
    text = document.read_text(encoding="utf-8")
    for path in re.findall(r"(?:\$U|localhost:8000|GET |POST )(/v1/[^\s\"'`?|,;)]*)", text):
        assert any(re.fullmatch(pattern, path) for pattern in patterns), f"{document.name}: {path}"
