"""The commands of docs/whole-road.md, as they stand there, against a live service."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.processes import ROOT

PAGE = ROOT / "docs" / "whole-road.md"
PROBLEMS = 4  # the page says twelve


def block(heading: str, language: str) -> str:
    """The commands of a section of the page."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    [found] = re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)
    return str(found)


def follow(script: str, folder: Path, env: Mapping[str, str], url: str) -> subprocess.CompletedProcess[str]:
    """Run the commands in a folder that has this checkout's model and ``errata``; any failure ends them."""
    program = folder / "bin" / "errata"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        (folder / "demo").symlink_to(ROOT / "demo")
    own = {"ERRATA_URL": url, "ERRATA_CONFIG": str(folder / "profiles.json"), "PATH": f"{program.parent}:{env['PATH']}"}
    text = script.replace("http://127.0.0.1:8000", url).replace("demo.problems 12", f"demo.problems {PROBLEMS}")
    text = re.sub(r"^python ", f"{sys.executable} ", text, flags=re.M)
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + text],
        env={**env, **own},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done
