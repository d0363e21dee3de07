"""Resolve what the images install: ``make lock`` writes ``requirements/*.lock``, each file by its hash.

``service.lock`` is the image without torch, ``torch.lock`` the one with it and CUDA, in one set of versions.
``torch-cpu.lock`` is ``torch.lock`` without torch and what only CUDA needs: with TORCH_INDEX the image takes torch
from that index, in the version of ``constraints-cpu.txt``. Locks hold for every platform and Python from 3.11 on. They
name no index. Arguments go to ``uv pip compile``, such as ``--upgrade-package NAME`` or ``--index-url URL``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "3.11"
LOCKS = {"service": ("server", "otel", "s3"), "torch": ("server", "otel", "s3", "train", "qlora")}
#: What only torch for CUDA brings, and torch.
CUDA = re.compile(r"(?:torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")


def entries(text: str) -> list[str]:
    """The entries of a lock: each one version with its hashes."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[str] = []
    for line in lines:
        if line[0] == " ":
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def resolve(name: str, more: list[str]) -> None:
    """Write one lock; versions that still fit are kept. Raises CalledProcessError."""
    given = [f"--extra={extra}" for extra in LOCKS[name]]
    given += ["-c", "constraints-cpu.txt"]  # one version of torch for both images
    if name != "service":
        given += ["-c", "requirements/service.lock"]
    options = ["--universal", f"--python-version={PYTHON}", "--generate-hashes", "--no-header", "--no-annotate"]
    options += ["--no-emit-index-url", "--no-emit-find-links", "--quiet", f"--output-file=requirements/{name}.lock"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", *given, *options, *more]
    subprocess.run(command, cwd=HERE.parent, check=True)


def main() -> None:
    """Resolve every lock."""
    for name in LOCKS:
        resolve(name, sys.argv[1:])
    without = [entry for entry in entries((HERE / "torch.lock").read_text()) if not CUDA.match(entry)]
    (HERE / "torch-cpu.lock").write_text("\n".join(without) + "\n")


if __name__ == "__main__":
    main()
