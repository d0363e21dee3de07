"""The commands of docs/openai-fine-tuning.md, as they stand there, against a live service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.processes import ROOT


def follow_openai_page(url: str, model: str) -> dict[str, Any]:
    """Run every Python block of the page in the current folder; the names they leave behind."""
    text = (ROOT / "docs" / "openai-fine-tuning.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    code = "\n".join(blocks).replace("http://localhost:8000", url).replace('"my-model"', f'"{model}"')
    names: dict[str, Any] = {}
    exec(compile(code, str(Path("openai-fine-tuning.md")), "exec"), names)
    return names
