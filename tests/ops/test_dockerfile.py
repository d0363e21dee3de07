"""The Dockerfile: what a linter of Dockerfiles would say, and that what it copies and computes is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", TEXT)).splitlines()
INSTRUCTIONS = [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in LINES if line.strip()]
FINAL = ("service", "torch")


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions per stage, those of the stages it builds on included."""
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for name, value in INSTRUCTIONS:
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            current = found[alias] = list(found.get(base, []))
        current.append((name, value))
    return found


def test_instructions_are_known_and_sources_are_copied_not_added() -> None:
    known = {"ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "EXPOSE"}
    assert {name for name, _ in INSTRUCTIONS} <= known | {"HEALTHCHECK", "CMD"}


def test_base_images_have_versions() -> None:
    aliases = set(stages())
    for name, value in INSTRUCTIONS:
        if name == "FROM" and value.split()[0] not in aliases:
            tag = value.split()[0].partition(":")[2]
            assert tag
            assert tag != "latest"


@pytest.mark.parametrize("stage", FINAL)
def test_final_images_are_not_root_and_have_a_health_check(stage: str) -> None:
    instructions = stages()[stage]
    users = [value for name, value in instructions if name == "USER"]
    assert users[-1:] == ["errata"]
    assert any(name == "HEALTHCHECK" for name, _ in instructions)
    for form in ("ENTRYPOINT", "CMD"):
        assert [value for name, value in instructions if name == form][-1].startswith("["), "exec form gets signals"


def test_only_the_image_with_torch_has_torch() -> None:
    text = "\n".join(value for _, value in stages()["service"])
    assert "build-torch" not in text
    assert any("--from=build-torch" in value for _, value in stages()["torch"])


def test_what_is_copied_exists_and_docker_may_see_it() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name, value in INSTRUCTIONS:
        if name == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, f"{source} is kept out by .dockerignore"


def test_every_room_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    rooms = {name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {value.split()[0] for name, value in INSTRUCTIONS if name == "COPY"}
    assert rooms <= copied


def test_no_secret_in_an_image() -> None:
    assert not re.search(r"(?i)(password|secret|token|api_?key)\s*=", TEXT)


def test_compose_builds_these_stages() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    built = {service["build"]["target"] for service in services.values() if "build" in service}
    assert built == set(FINAL)
