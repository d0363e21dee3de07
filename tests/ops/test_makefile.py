"""The Makefile: it explains itself, and names what a fresh machine lacks in one line with the remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as a person would, not as a child of another make."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What installing needs, without an environment."""
    for name in ("Makefile", "pyproject.toml", "constraints-cpu.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_it_explains_every_target(arguments: list[str]) -> None:
    shown = make(*arguments).stdout
    phony = re.search(r"^\.PHONY: (.*)$", TEXT, flags=re.M)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^  make {target} +\S", shown, flags=re.M), target
    assert "TORCH_INDEX" in shown
    assert "2.6 GB" in shown


@pytest.mark.parametrize(
    ("script", "remedy"),
    [
        ('case "$2" in *version_info*) exit 1;; esac', "make PYTHON=python3.11"),
        ('case "$2" in *ensurepip*) exit 1;; esac', "sudo apt-get install -y python3-venv"),
    ],
)
def test_what_is_missing_is_one_line_with_its_remedy(checkout: Path, script: str, remedy: str) -> None:
    python = checkout / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = make("demo", f"PYTHON={python}", folder=checkout)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert remedy in said[0]
    assert not (checkout / ".venv").exists()


def test_no_python_at_all(checkout: Path) -> None:
    done = make("demo", "PYTHON=no-such-python", folder=checkout)
    assert "sudo apt-get install -y python3 python3-venv" in done.stderr


def test_an_installed_environment_is_not_installed_again(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints-cpu.txt"):
        os.utime(checkout / name, (1, 1))
    (checkout / ".venv" / ".installed").touch()
    errata = checkout / ".venv" / "bin" / "errata"
    errata.write_text('#!/bin/sh\necho "errata $@"\n')
    errata.chmod(0o755)
    assert make("demo", "ARGS=--plan small", folder=checkout).stdout.strip() == "errata demo --json --plan small"


def test_ci_runs_every_check() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in ("lint", "types", "contracts", "migrations-check", "test"):
        assert re.search(rf"^make {target}\b", script, flags=re.M), target
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
