"""Which code made something: the package's version and, where it is known, the commit."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_ROOT = Path(__file__).resolve().parents[2]


class CodeVersion(TypedDict):
    """``commit`` is null where neither ERRATA_COMMIT nor a checkout tells it."""

    version: str | None
    commit: str | None


@lru_cache(maxsize=1)
def code_version() -> CodeVersion:
    """The version of this code, for manifests. Asks git once."""
    try:
        found: str | None = version("errata")
    except PackageNotFoundError:
        found = None
    return {"version": found, "commit": os.environ.get("ERRATA_COMMIT") or _commit()}


def _commit() -> str | None:
    if not (_ROOT / ".git").exists():  # an installed package inside somebody else's checkout is not that checkout
        return None
    try:
        asked = ["git", "-C", str(_ROOT), "rev-parse", "HEAD"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
