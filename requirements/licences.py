"""The licence of every package that the images install: ``make licences`` writes ``docs/licences.md``.

Licences are those that the packages of this environment declare (pip-licenses). Packages that only CUDA needs are not
installed on machines without a GPU: theirs stand here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from requirements.lock import CUDA, entries

ROOT = Path(__file__).resolve().parents[1]
#: Terms under which the images may be passed on. LGPL and MPL hold for changes of the package itself: we make none.
ALLOWED = frozenset(
    {
        "0BSD", "3-Clause BSD License", "Apache 2.0", "Apache 2.0 License", "Apache Software License", "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CNRI-Python", "DFSG approved", "ISC", "ISC License (ISCL)", "LGPL-3.0-only", "MIT", "MIT License", "MIT-0",
        "MIT-CMU", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "PSF-2.0", "Python Software Foundation License",
        "Python-2.0", "Zlib",
    }
)  # fmt: skip
_NVIDIA = "NVIDIA Software License (CUDA); only in the image with CUDA"
_INTRO = """# Licences

Errata is under the [Apache License 2.0](../LICENSE). Its images also hold these packages. Each keeps its own licence.
`make licences` makes the list from `requirements/torch.lock`. The image without torch holds a part of it.

| package | licence |
|---|---|
"""


def locked() -> set[str]:
    """The packages of the image with torch."""
    text = (ROOT / "requirements" / "torch.lock").read_text(encoding="utf-8")
    return {re.split(r"[=\[]", entry, maxsplit=1)[0] for entry in entries(text)}


def by_hand() -> dict[str, str]:
    """The licences of packages that only CUDA needs."""
    cuda = {name for name in locked() if CUDA.match(f"{name}==")} - {"torch"}
    return {name: "MIT" if name == "triton" else _NVIDIA for name in cuda}


def found() -> dict[str, str]:
    """What the installed packages of the lock declare. Raises CalledProcessError."""
    command = [sys.executable, "-m", "piplicenses", "--from=mixed", "--format=json", "--with-system"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    licences = {re.sub(r"[-_.]+", "-", each["Name"]).lower(): str(each["License"]) for each in told}
    return {name: licences[name] for name in locked() - by_hand().keys() if name in licences}


def allowed(told: str) -> bool:
    """Whether all that a package's licence is made of is allowed."""
    parts = [told] if told in ALLOWED else re.split(r";| AND | OR ", told)
    return all(part.strip() in ALLOWED or part.strip(" ()") in ALLOWED for part in parts)


def escaped(told: str) -> str:
    """A licence as a cell of a table."""
    return " ".join(told.split()).replace("|", "\\|")


def main() -> None:
    """Write the document."""
    rows = sorted({**found(), **by_hand()}.items())
    table = "".join(f"| {name} | {escaped(told)} |\n" for name, told in rows)
    (ROOT / "docs" / "licences.md").write_text(_INTRO + table, encoding="utf-8")


if __name__ == "__main__":
    main()
