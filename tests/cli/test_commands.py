"""The small commands: what they print, what they refuse, and that a refusal is one line."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.main import app, main
from cli.sections import SECTIONS
from errata.config import PRESETS, resolve
from tests.processes import environment


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    def refusal(self) -> str:
        """The one line of a refusal."""
        assert self.status == 1, self
        assert len(self.err.strip().splitlines()) == 1, self.err
        assert self.err.startswith("errata: ")
        return self.err.strip()


Errata = Callable[..., Result]


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Errata:
    """Run a command in this process, with a home of the test's own and the settings given by keyword."""
    for name, value in environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for name in ("DATABASE_URL", "BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # `models add` would ask the hub

    def run(*arguments: str, **settings: str) -> Result:
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["errata", *arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return Result(int(ended.value.code or 0), said.out, said.err)

    return run


def test_help_names_every_command_and_loads_nothing_heavy(errata: Errata) -> None:
    text = errata("--help").out
    for command in ("serve", "api", "worker", "trainer", "sweeper", "migrate", "demo", "keys", "models", "presets"):
        assert f"  {command} " in text
    assert text.index("  inject ") < text.index("  compare ") < text.index("  login ") < text.index("  serve ")
    assert {name for names in SECTIONS.values() for name in names} == set(get_command(app).commands)
    heavy = ("torch", "celery", "fastapi", "sqlalchemy", "pydantic", "httpx", "rich", "workers.engines.registry")
    code = f"import sys, cli.main; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


#: Commands that go on for ever, print JSON always or nothing but a line, or need a terminal.
_WITHOUT_JSON = {
    "serve", "api", "worker", "sweeper", "trainer", "mcp", "migrate", "backup", "restore",
    "workspaces delete", "pairs browse",
}  # fmt: skip


def test_every_other_command_prints_json() -> None:
    found = set(_without_json(get_command(app), ""))
    assert found == _WITHOUT_JSON


def _without_json(command: Any, path: str) -> Iterator[str]:
    for name, below in getattr(command, "commands", {}).items():
        yield from _without_json(below, f"{path} {name}".strip())
    if path and not getattr(command, "commands", None) and not any("--json" in each.opts for each in command.params):
        yield path


def test_presets_are_the_resolved_configurations(errata: Errata) -> None:
    listed = errata("presets").out.splitlines()
    assert [line.split()[0] for line in listed] == list(PRESETS)
    assert all(len(line.split()) > 3 for line in listed), "each with what it is for"
    assert json.loads(errata("presets", "--json").out) == {
        name: resolve(name).model_dump(mode="json") for name in PRESETS
    }
    one = json.loads(errata("presets", "paper").out)
    assert one["selection"]["require_both"] is True
    assert "there is no preset 'papre'" in errata("presets", "papre").refusal()


def test_migrate_twice_and_check(errata: Errata) -> None:
    assert "not at this version" in errata("migrate", "--check").refusal()
    for _ in range(2):
        assert errata("migrate").status == 0
    assert errata("migrate", "--check").status == 0


def test_a_database_that_is_behind_is_named_with_its_remedy(errata: Errata) -> None:
    assert "run `errata migrate`" in errata("keys", "list").refusal()


REFUSED_SETTINGS = [
    ("DATABASE_URL", "nowhere", "DATABASE_URL: give postgresql://"),
    ("DATABASE_URL", "mysql://u@h/d", "DATABASE_URL: give postgresql://"),
    ("DATABASE_URL", "postgresql://u@127.0.0.1:1/d", "cannot be reached.*DATABASE_URL"),
    ("BROKER_URL", "nowhere", "BROKER_URL: give redis://"),
    ("BROKER_URL", "kafkas://h", "BROKER_URL: give redis://"),
    ("ERRATA_FILES_URL", "nowhere://x", "ERRATA_FILES_URL: Protocol not known"),
    ("ERRATA_HOME", "/proc/errata", "/proc/errata: .*; set ERRATA_HOME"),
    ("ERRATA_PORT", "high", "ERRATA_PORT: .*valid integer"),
    ("ERRATA_TRAINER_ACCELERATE_CONFIG", "nowhere", "ERRATA_TRAINER_ACCELERATE_CONFIG: there is no such file"),
]


@pytest.mark.parametrize(("name", "value", "told"), REFUSED_SETTINGS)
def test_a_setting_that_cannot_be_is_named_by_its_variable(errata: Errata, name: str, value: str, told: str) -> None:
    assert re.search(told, errata("serve", "--port", "0", **{name: value}).refusal())


def test_the_same_from_the_commands_that_only_need_a_database(errata: Errata) -> None:
    for command in (["migrate"], ["migrate", "--check"], ["health"], ["keys", "list"]):
        assert "set ERRATA_HOME" in errata(*command, ERRATA_HOME="/proc/errata").refusal()
        assert "cannot be reached" in errata(*command, DATABASE_URL="postgresql://u@127.0.0.1:1/d").refusal()


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(errata: Errata) -> None:
    errata("migrate")
    made = errata("keys", "create", "laptop", "--scopes", "read,write", "--days", "3")
    key = made.out.strip()
    assert key.startswith("errata_")
    assert len(key.split("_")) == 3
    listed = errata("keys", "list").out
    assert "laptop" in listed
    assert key.split("_")[2] not in listed
    key_id = f"key_{key.split('_')[1]}"
    assert errata("keys", "revoke", key_id).status == 0
    assert "revoked" in errata("keys", "list").out
    assert "there is no valid key" in errata("keys", "revoke", key_id).refusal()
    assert "scopes must be some of" in errata("keys", "create", "x", "--scopes", "root").refusal()


def test_the_registry(errata: Errata, tmp_path: Path) -> None:
    errata("migrate")
    folder = tmp_path / "weights"
    folder.mkdir()
    assert "has no config.json" in errata("models", "add", "mini", "--path", str(folder)).err
    added = errata(
        "models", "add", "big", "--engine", "openai", "--setting", "base_url=http://127.0.0.1:1/v1",
        "--setting", "model=big", "--setting", "concurrency=8",
    )  # fmt: skip
    assert json.loads(added.out.partition("openai ")[2]) == {
        "base_url": "http://127.0.0.1:1/v1",
        "model": "big",
        "concurrency": 8,
    }
    again = errata("models", "add", "mini", "--path", "org/name", "--revision", "abc")
    assert '"revision": "abc"' in again.out
    listed = errata("models", "list").out
    assert listed.count("mini ") == 1
    assert "org/name" in listed
    assert "needs path" in errata("models", "add", "x").refusal()
    assert re.search("needs base_url; .*needs model", errata("models", "add", "x", "--engine", "openai").refusal())
    assert "there is no engine" in errata("models", "add", "x", "--engine", "onnx").refusal()
    assert "give name=value" in errata("models", "add", "x", "--path", "a", "--setting", "b").refusal()


REFUSED_ENTRIES = [
    ("transformers", "bath_size=8", "has no setting bath_size; known are path, .*batch_size"),
    ("transformers", "batch_size=-1", "batch_size: .*greater than 0"),
    ("transformers", "dtype=half", "dtype: .*'float32'"),
    ("vllm", "tensor_parallel=two", "tensor_parallel: .*integer"),
    ("vllm", "gpu_memory_utilization=90", "gpu_memory_utilization: .*less than or equal to 1"),
    ("openai", "api_key=sk-very-secret", "has no setting api_key; known are .*api_key_env"),
    ("openai", "timeout_seconds=0", "timeout_seconds: .*greater than 0"),
]


@pytest.mark.parametrize(("engine", "setting", "told"), REFUSED_ENTRIES)
def test_an_entry_that_could_not_be_served_is_refused(errata: Errata, engine: str, setting: str, told: str) -> None:
    errata("migrate")
    good = ["--path", "org/name"]
    if engine == "openai":
        good = ["--setting", "base_url=http://h/v1", "--setting", "model=123"]  # a name, though it looks like a number
    assert errata("models", "add", "x", "--engine", engine, *good).status == 0
    refusal = errata("models", "add", "x", "--engine", engine, *good, "--setting", setting).refusal()
    assert re.search(told, refusal)
    assert "sk-very" not in refusal
    assert setting.partition("=")[2] not in errata("models", "list").out


def test_health(errata: Errata) -> None:
    assert "migrations: it has no tables; run `errata migrate`" in errata("health").refusal()
    errata("migrate")
    told = errata("health").out.strip().splitlines()
    assert told[-1] == "healthy"
    assert told[0].startswith("workers.generation: none was heard lately: jobs that ask a language model wait; start")
    assert "workers.grading" in errata("health", "--strict").refusal()
    parts = {part["name"]: part["state"] for part in json.loads(errata("health", "--json").out)["parts"]}
    assert parts == {
        "database": "ok", "migrations": "ok", "workers.generation": "degraded", "workers.grading": "degraded",
        "sweeper": "degraded", "engine": "ok", "broker": "ok", "storage": "ok",
    }  # fmt: skip
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"  # bound but not listening: connections are refused
        assert "does not answer" in errata("health", "--url", f"http://{nobody}/readyz").refusal()
        assert "the broker does not answer" in errata("health", BROKER_URL=f"redis://{nobody}/0").refusal()
        lost = f"postgresql://nobody@{nobody}/x"
        assert "the database cannot be reached" in errata("health", DATABASE_URL=lost).refusal()
        assert "cannot be reached" in errata("api", DATABASE_URL=lost, BROKER_URL="redis://x").refusal()


@pytest.mark.parametrize("command", ["api", "worker", "sweeper"])
def test_roles_of_several_processes_need_a_broker(command: str, errata: Errata) -> None:
    assert "set BROKER_URL" in errata(command).refusal()


def test_unknown_queues_and_settings_are_refused(errata: Errata) -> None:
    result = errata("worker", "--queues", "generation,training")
    assert result.status == 2
    assert "--queues" in result.err
    errata("migrate")
    assert "ERRATA_PORT" in errata("serve", ERRATA_PORT="99999").refusal()
    assert "is no level" in errata("presets", ERRATA_LOG_LEVEL="loud").refusal()
