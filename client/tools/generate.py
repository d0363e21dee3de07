"""Write the synchronous client from the asynchronous one: ``python client/tools/generate.py``; ``--check`` only looks.

Each file of ``errata_client/_async`` gives the file of its name beside that folder, without ``async`` and ``await``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "client" / "src" / "errata_client"
BY_HAND = {"__init__.py", "waiting.py"}
_WORDS = [
    (r"errata_client\._async\.", "errata_client."),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync([A-Z]\w*)", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\baclosing\b", "closing"),
    (r"\b__a(enter|exit|iter|next)__", r"__\1__"),
    (r"\ba(close|read|iter_raw)\(", r"\1("),
    (r"``aclose\(\)``", "``close()``"),
    (r"\banext\(", "next("),
]


def sources() -> list[Path]:
    """The files that others are made of."""
    return sorted(path for path in (PACKAGE / "_async").glob("*.py") if path.name not in BY_HAND)


def synchronous(source: Path) -> str:
    """The text of a synchronous file, not yet formatted."""
    text = source.read_text(encoding="utf-8")
    for pattern, by in _WORDS:
        text = re.sub(pattern, by, text)
    return f"# Made from _async/{source.name} by client/tools/generate.py: change that file, not this one.\n{text}"


def generated() -> dict[str, str]:
    """Every synchronous file by its name, in the format of this repository. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources():
            (Path(scratch) / source.name).write_text(synchronous(source), encoding="utf-8")
        for command in (["check", "--fix-only"], ["format"]):
            run = [
                sys.executable,
                "-m",
                "ruff",
                *command,
                "--quiet",
                "--no-cache",
                "--config",
                "pyproject.toml",
                scratch,
            ]
            subprocess.run(run, cwd=ROOT, check=True)
        return {path.name: path.read_text(encoding="utf-8") for path in Path(scratch).glob("*.py")}


def stale(wanted: dict[str, str]) -> list[str]:
    """The names of files that are not what their sources give."""
    written = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}
    return sorted(name for name, text in wanted.items() if written.get(name) != text)


def main() -> int:
    """Write the files, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Change nothing; fail where a file is stale.")
    check = parser.parse_args().check
    names = stale(wanted := generated())
    if check:
        sys.stderr.write("".join(f"{name} is stale: run python client/tools/generate.py\n" for name in names))
        return bool(names)
    for name in names:
        (PACKAGE / name).write_text(wanted[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
