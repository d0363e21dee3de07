"""docker-compose.yml: valid by the compose schema, and the rules a schema cannot express."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("errata-"))


def schema() -> dict[str, Any]:
    """The compose schema as published (see compose_spec.LICENSE)."""
    document: dict[str, Any] = json.loads((ROOT / "tests/ops/compose_spec.json").read_text(encoding="utf-8"))
    return document


def test_it_is_valid_by_the_compose_schema() -> None:
    errors = list(jsonschema.Draft7Validator(schema()).iter_errors(FILE))
    assert not errors, [f"{list(error.path)}: {error.message[:200]}" for error in errors]


def test_the_schema_would_notice() -> None:
    broken = {**FILE, "services": {**SERVICES, "api": {**SERVICES["api"], "comand": ["api"]}}}
    assert list(jsonschema.Draft7Validator(schema()).iter_errors(broken))


def test_every_role_is_there() -> None:
    roles = {"migrate", "api", "sweeper", "worker-generation", "worker-grading", "trainer"}
    assert set(OURS) == roles
    assert set(SERVICES) == roles | {"postgres", "redis", "vllm"}
    assert SERVICES["vllm"]["profiles"] == ["gpu"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["vllm"]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_what_goes_on_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service, "the image's own user is not root"


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_our_containers_wait_for_schema_database_and_broker(name: str) -> None:
    conditions = {other: entry["condition"] for other, entry in SERVICES[name]["depends_on"].items()}
    assert conditions == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }


def test_redis_keeps_hints_and_refuses_instead_of_dropping() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_trainer_has_time_to_checkpoint() -> None:
    from workers.training.supervise.settings import TrainerSettings

    assert float(SERVICES["trainer"]["stop_grace_period"].removesuffix("s")) > TrainerSettings().stop_seconds


def test_no_secret_stands_in_the_file() -> None:
    for name, value in re.findall(r"(?im)^\s*([A-Z_]*(?:PASSWORD|SECRET|TOKEN|KEY)[A-Z_]*):\s*(.+)$", TEXT):
        assert value.startswith("${"), f"{name} is written out"
    for address in re.findall(r"://[^/\s]*:([^@\s]*)@", TEXT):
        assert address.startswith("${"), "a URL holds a password"


def test_only_the_api_can_be_reached_and_only_from_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_images_have_versions() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2] if "${" not in service["image"] else service["image"]
        assert tag, name
        assert "latest" not in service["image"], name


def test_every_volume_is_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(FILE["volumes"])
