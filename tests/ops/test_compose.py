"""docker-compose.yml: valid by the compose schema, and the rules a schema cannot express."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
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
    errors = list(jsonschema.Draft202012Validator(schema()).iter_errors(FILE))
    assert not errors, [f"{list(error.path)}: {error.message[:200]}" for error in errors]


def test_the_schema_would_notice() -> None:
    broken = {**FILE, "services": {**SERVICES, "api": {**SERVICES["api"], "comand": ["api"]}}}
    assert list(jsonschema.Draft202012Validator(schema()).iter_errors(broken))


def started(*profiles: str) -> set[str]:
    """What `docker compose up` starts with these profiles."""
    return {name for name, service in SERVICES.items() if set(service.get("profiles", profiles)) & {*profiles, ""}}


def test_every_role_is_there_with_and_without_a_gpu() -> None:
    shared = {"postgres", "redis", "migrate", "api", "sweeper", "worker-grading"}
    assert started("") == shared
    assert started("gpu") == shared | {"worker-generation", "trainer"}
    assert started("cpu") == shared | {"worker-generation-cpu", "trainer-cpu", "miniature"}
    assert started("gpu", "vllm", "metrics") == started("gpu") | {"vllm", "prometheus", "grafana"}


def test_the_two_kinds_of_a_role_run_the_same_command() -> None:
    for name in ("worker-generation", "trainer"):
        assert SERVICES[name]["command"] == SERVICES[f"{name}-cpu"]["command"]


def test_only_what_computes_on_a_gpu_reserves_one_by_a_setting() -> None:
    reserved = {
        name: device
        for name, service in SERVICES.items()
        for device in service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    }
    assert set(reserved) == {"worker-generation", "trainer", "vllm"}
    for device in reserved.values():
        assert device["capabilities"] == ["gpu"]
        assert re.fullmatch(r"\$\{ERRATA_[A-Z]+_GPU:-\d\}", device["device_ids"][0])
    # Generation and trainer lend one GPU to each other; a server outside Errata takes no turns.
    assert reserved["worker-generation"]["device_ids"][0].endswith(":-0}")
    assert reserved["trainer"]["device_ids"][0].endswith(":-0}")
    assert reserved["vllm"]["device_ids"][0].endswith(":-1}")


def test_everything_has_a_limit_of_memory() -> None:
    for name, service in SERVICES.items():
        assert service["deploy"]["resources"]["limits"]["memory"], name


def test_the_miniature_is_where_the_image_has_it() -> None:
    command = SERVICES["miniature"]["command"]
    folder = command[command.index("--path") + 1]
    assert folder.startswith("/app/")
    assert (ROOT / folder.removeprefix("/app/") / "config.json").is_file()


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate", "miniature"}))
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
def test_our_containers_take_their_secrets_from_files(name: str) -> None:
    service = SERVICES[name]
    assert set(service["secrets"]) <= set(FILE["secrets"])
    assert service["environment"]["ERRATA_SECRETS"] == "/run/secrets"
    assert "DATABASE_URL" not in service["environment"]


def test_the_script_writes_every_secret_once(tmp_path: Path) -> None:
    script = tmp_path / "deploy/make-secrets.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "deploy/make-secrets.sh", script)
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True)
        files = {f"deploy/secrets/{file.name}": file.read_text() for file in (script.parent / "secrets").iterdir()}
        assert set(files) == {entry["file"] for entry in FILE["secrets"].values()}
        assert files == locals().get("before", files), "a second call changes nothing"
        before = files
    assert files["deploy/secrets/postgres_password"] in files["deploy/secrets/database_url"]
    assert len(files["deploy/secrets/errata_metrics_token"]) >= 16
    assert (script.parent / "secrets").stat().st_mode & 0o077 == 0


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
    for name, value in re.findall(r"(?m)^\s*([A-Z_]*(?:PASSWORD|SECRET|TOKEN|KEY)[A-Z_]*):\s*(.+)$", TEXT):
        assert value.startswith(("${", "/run/secrets")), f"{name} is written out"
    for address in re.findall(r"://[^/\s]*:([^@\s]*)@", TEXT):
        assert address.startswith("${"), "a URL holds a password"


def test_only_api_and_grafana_can_be_reached_and_only_from_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(published) == ["api", "grafana"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_images_have_versions() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2] if "${" not in service["image"] else service["image"]
        assert tag, name
        assert "latest" not in service["image"], name


def test_every_volume_is_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith(".")} == set(FILE["volumes"])
    assert all((ROOT / name).exists() for name in used if name.startswith("."))
