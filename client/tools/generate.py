"""Write the synchronous client from the asynchronous one: ``python client/tools/generate.py``; ``--check`` only looks.

Each file of ``errata_client/_async`` gives the file of its name beside that folder, without ``async`` and ``await``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
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


def generated(source: Path) -> str:
    """The synchronous file, in the format of this repository. Raises CalledProcessError with what ruff says."""
    text = source.read_text(encoding="utf-8")
    for pattern, by in _WORDS:
        text = re.sub(pattern, by, text)
    text = f"# Made from _async/{source.name} by client/tools/generate.py: change that file, not this one.\n{text}"
    target = str(PACKAGE / source.name)
    for command in (["check", "--fix-only", "--quiet"], ["format"]):
        run = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", target, "-"]
        text = subprocess.run(run, input=text, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return text


def stale() -> list[str]:
    """The names of files that are not what their sources give."""
    written = {path.name: path for path in PACKAGE.glob("*.py")}
    return [
        source.name
        for source in sources()
        if source.name not in written or written[source.name].read_text(encoding="utf-8") != generated(source)
    ]


def main() -> int:
    """Write the files, or say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Change nothing; fail where a file is stale.")
    if parser.parse_args().check:
        names = stale()
        sys.stderr.write("".join(f"{name} is stale: run python client/tools/generate.py\n" for name in names))
        return bool(names)
    for source in sources():
        (PACKAGE / source.name).write_text(generated(source), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
