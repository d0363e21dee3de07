"""What the images install: locks that fit the project, with hashes; an SBOM of all of it; licences that are allowed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements import licences
from requirements.lock import CUDA, LOCKS, entries

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINUX = {**default_environment(), "sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}


def read(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """The version of each package that a lock installs on Linux."""
    found = [Requirement(entry.split("\\\n")[0].strip()) for entry in entries(read(name))]
    there = [each for each in found if each.marker is None or each.marker.evaluate(dict(LINUX))]
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in there}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_fits_the_project(name: str) -> None:
    wanted = PROJECT["dependencies"] + [
        each for extra in LOCKS[name] for each in PROJECT["optional-dependencies"][extra]
    ]
    found = pins(name)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), f"{requirement}: `make lock`"


@pytest.mark.parametrize("name", [*LOCKS, "torch-cpu"])
def test_every_entry_is_one_version_with_hashes_and_no_index_is_named(name: str) -> None:
    assert "://" not in read(name)
    assert not re.search(r"(?m)^\s*-", re.sub(r"--hash=sha256:[0-9a-f]{64}", "", read(name)))
    for entry in entries(read(name)):
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==[^ ]+( ; [^\\]+)? \\\n", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}$", entry), entry.splitlines()[0]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_all_that_its_packages_need(name: str) -> None:
    """As far as the packages of this environment tell, where they are of the lock's version."""
    found, looked = pins(name), 0
    for package, version in found.items():
        try:
            installed = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue
        if installed.version.partition("+")[0] != version:
            continue
        looked += 1
        for requirement in map(Requirement, installed.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({**LINUX, "extra": ""}):
                assert canonicalize_name(requirement.name) in found, f"{package} needs {requirement}"
    assert looked > 20, "too little of the lock is installed here to tell: run `make dev`"


def test_both_images_have_the_same_versions_and_the_tested_torch() -> None:
    service, torch, cpu = pins("service"), pins("torch"), pins("torch-cpu")
    assert service.items() <= torch.items()
    assert f"torch=={torch['torch']}" in (ROOT / "constraints-cpu.txt").read_text().split()
    cuda = {name for name in torch if CUDA.match(f"{name}==")}
    assert cpu == {name: version for name, version in torch.items() if name not in cuda}
    assert "nvidia-nccl-cu13" in cuda
    assert "torch" not in service


def test_the_images_install_the_locks_by_hash() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installed = [line for line in text.splitlines() if "pip install" in line]
    assert installed
    for line in installed:
        assert "--require-hashes" in line or "constraints-cpu.txt" in line, line
    for name in ("service", "torch", "torch-cpu"):
        assert f"--require-hashes --no-deps -r requirements/{name}.lock" in text


def test_the_sbom_names_every_package_with_its_hashes(tmp_path: Path) -> None:
    recipe = (ROOT / "Makefile").read_text().split("\nsbom:")[1].split("\n\n")[0]
    assert "cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml" in recipe
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--no-validate"]
    command += ["--pyproject", "pyproject.toml", "-o", str(tmp_path / "sbom.json"), "requirements/service.lock"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    sbom = json.loads((tmp_path / "sbom.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "errata"
    assert {canonicalize_name(each["name"]) for each in sbom["components"]} == {
        canonicalize_name(Requirement(entry.split("\\\n")[0].strip()).name) for entry in entries(read("service"))
    }
    assert all(reference["hashes"] for each in sbom["components"] for reference in each["externalReferences"])


def test_every_licence_is_allowed_and_listed() -> None:
    """Of what is installed here; what only CUDA needs is NVIDIA's and listed by hand."""
    found = licences.found()
    bad = {name: told for name, told in found.items() if not licences.allowed(told)}
    assert not bad, "look at these licences; allow them in requirements/licences.py, or do without the package"
    assert set(pins("torch")) <= set(found) | set(licences.by_hand()) <= licences.locked()
    listed = dict(re.findall(r"(?m)^\| ([a-z0-9-]+) \| (.+?) \|", (ROOT / "docs" / "licences.md").read_text()))
    assert {name: licences.escaped(told) for name, told in found.items()}.items() <= listed.items(), "`make licences`"


@pytest.mark.parametrize(
    ("told", "good"),
    [
        ("MIT", True), ("MIT License; Apache Software License", True), ("Apache-2.0 OR BSD-3-Clause", True),
        ("MIT AND Python-2.0", True), ("GPL-3.0-only", False), ("MIT AND AGPL-3.0-only", False),
        ("GNU General Public License v3 (GPLv3)", False), ("UNKNOWN", False), ("", False), ("LGPL-3.0-only", True),
    ],
)  # fmt: skip
def test_what_is_allowed(told: str, good: bool) -> None:
    assert licences.allowed(told) is good
