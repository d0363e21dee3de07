"""Whether a registered language model has a chat template, read from its files without loading anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_CONFIG = "tokenizer_config.json"


def knows_chat_template(engine: str, config: Mapping[str, Any]) -> bool:
    """False only where the model's tokenizer is at hand and holds no template.

    A model behind a server is asked for chats; one whose files are not on this machine had a template when it was
    sampled, because every engine refuses a model without one. Asks no hub: of a hub id only what is cached is read.
    """
    source = config.get("tokenizer") or (config.get("path") if engine != "openai" else None)
    if not source:
        return True
    if any(_file(source, name, config) is not None for name in _TEMPLATE_FILES):
        return True
    path = _file(source, _CONFIG, config)
    if path is None:
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return True


def _file(source: str, name: str, config: Mapping[str, Any]) -> Path | None:
    folder = Path(source)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    from huggingface_hub import try_to_load_from_cache  # not needed for folders, and slow to import
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(source, name, revision=config.get("revision"))
    except HFValidationError:  # a folder of another machine
        return None
    return Path(cached) if isinstance(cached, str) else None
