"""Environments of their own for the consumers: ``python -m tests.consumers.environments FOLDER [CONSUMER ...]``.

A consumer's loaders need a part of what it depends on, and its pins clash with ours. So each environment is a venv that
holds the consumer and what its loaders import in the consumer's own versions, and finds the rest (torch above all) in
the environment that runs this. One that is there stays. Where the index lacks something, one line says so and the
consumer is left out.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(os.environ.get("ERRATA_CONSUMERS", "data/consumers"))
_REQUIREMENTS = Path(__file__).parent / "requirements"
_MISSING = re.compile(r"No matching distribution found for .*")


@dataclass(frozen=True)
class Consumer:
    """``version`` is that of the consumer itself, the first line of its requirements.

    ``bare``: it is installed without what it depends on, which would be gigabytes of GPU libraries; the other lines of
    its requirements are installed with what they depend on.
    """

    name: str
    bare: bool

    @property
    def requirements(self) -> Path:
        """What is installed."""
        return _REQUIREMENTS / f"{self.name}.txt"

    @property
    def version(self) -> str:
        """As pinned."""
        return self.requirements.read_text(encoding="utf-8").split("\n")[0].partition("==")[2]


CONSUMERS = {
    name: Consumer(name, bare)
    for name, bare in {
        "axolotl": True,
        "llamafactory": True,
        "lm_eval": False,
        "oumi": True,
        "tinker_cookbook": True,
    }.items()
}


def interpreter(name: str, folder: Path = FOLDER) -> Path | None:
    """The Python of a consumer's environment; None where there is none, or it is of other requirements."""
    home = folder / name
    stamp = home / ".installed"
    ready = stamp.is_file() and stamp.read_text(encoding="utf-8") == _digest(CONSUMERS[name])
    return (home / "bin" / "python").absolute() if ready else None


def make(consumer: Consumer, folder: Path) -> str | None:
    """Make the environment where it is missing. Answers what the index lacks, None where all is there."""
    if interpreter(consumer.name, folder):
        return None
    home = folder / consumer.name
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # pip sees the packages of this environment as installed, and never touches them: they are outside its own.
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    first, *rest = consumer.requirements.read_text(encoding="utf-8").splitlines()
    for packages_asked in (
        ["--no-deps", first] if consumer.bare else [first],
        [line for line in rest if line[0] != "#"],
    ):
        done = subprocess.run([*pip, *packages_asked], capture_output=True, text=True) if packages_asked else None
        if done is not None and done.returncode != 0:
            shutil.rmtree(home, ignore_errors=True)
            found = _MISSING.search(done.stderr)
            return found.group(0) if found else done.stderr.strip().rpartition("\n")[2]
    _without_cuda(packages)
    (home / ".installed").write_text(_digest(consumer), encoding="utf-8")
    return None


def _without_cuda(packages: Path) -> None:
    """The index's torchaudio is built for CUDA, and cannot be imported with a torch that is not.

    torchaudio goes without its compiled parts where their file is missing; no loader of text needs them.
    """
    import torch

    if torch.version.cuda is None:
        for library in packages.glob("torchaudio/lib/*.so"):
            library.unlink()


def _digest(consumer: Consumer) -> str:
    content = consumer.requirements.read_bytes() + sys.version.encode()
    return hashlib.sha256(content).hexdigest()


def main(arguments: Sequence[str]) -> None:
    """Make the environments named, or all."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments[1:] or CONSUMERS:
        missing = make(CONSUMERS[name], folder)
        print(f"{name}: left out: {missing}" if missing else f"{name} {CONSUMERS[name].version}: ready")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
