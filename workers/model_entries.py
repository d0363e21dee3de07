"""Registry entries as an operator gives them: settings checked, prompts read from the model's folder, doubts told.

Used by ``errata models add`` and by ``POST /v1/models``. Loads no torch; the hub is asked in ``doubts`` alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.engines.entry_settings import PROMPTED, addresses
from workers.engines.registry import DEFAULT_ENGINE, ENGINES, Config, checked
from workers.engines.weights import refuse_pickles

__all__ = ["DEFAULT_ENGINE", "addresses", "doubts", "entry_config", "place_settings"]
_PLACES = ("path", "tokenizer", "adapter")  # settings that name a folder or a hub id
_HUB_SECONDS = 5.0


def entry_config(engine: str, given: Mapping[str, Any]) -> Config:
    """The checked settings of an entry, with what the model's folder says of its prompts (``errata.json``).

    Raises ValueError for an engine or setting that there is not, for weights in pickles, and for a faulty
    ``errata.json``.
    """
    if engine not in ENGINES:
        raise ValueError(f"there is no engine '{engine}'; give one of {', '.join(ENGINES)}")
    folder = given.get("path") or given.get("tokenizer")
    for weights in (given.get("path"), given.get("adapter")):
        refuse_pickles(weights or "")
    return checked(engine, {**(_of_folder(Path(folder)) if folder else {}), **given})


def place_settings(config: Config) -> dict[str, str]:
    """Which settings of an entry name a folder or a hub id, with their values."""
    return {name: str(config[name]) for name in _PLACES if config.get(name)}


def doubts(config: Config) -> list[str]:
    """Why workers may not find what the entry names, in one sentence each; empty where this machine finds all of it.

    A folder is looked for on this machine, which may not be the workers'. What can be no folder is looked for in the
    hub's cache, then asked of the hub, for five seconds at most.
    """
    places = place_settings(config).items()
    found = (_doubt(place, config.get("revision") if name == "path" else None) for name, place in places)
    return [doubt for doubt in found if doubt]


def _doubt(place: str, revision: str | None) -> str | None:
    folder = Path(place).expanduser()
    if folder.is_dir():
        marks = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json")
        if any((folder / mark).is_file() for mark in marks):
            return None
        return f"{place} has no config.json; is it the folder of a model?"
    if not _may_be_hub_id(place):
        return f"there is no folder {place} on this machine; each worker must find it on its own"
    return _doubt_of_hub(place, revision)


def _may_be_hub_id(place: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented, not listed

    try:
        validate_repo_id(place)
    except HFValidationError:
        return False
    return True


def _doubt_of_hub(repo: str, revision: str | None) -> str | None:
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(huggingface_hub.try_to_load_from_cache(repo, "config.json", revision=revision), str):
        return None
    try:
        huggingface_hub.HfApi().model_info(repo, revision=revision, timeout=_HUB_SECONDS)
    except RepositoryNotFoundError:
        return f"{repo} is no folder here, and no model of the hub that this machine's token may read"
    except RevisionNotFoundError:
        return f"{repo} has no revision {revision} on the hub"
    except Exception as error:  # whatever the library and its transport raise: offline, no network, a broken answer
        return f"{repo} is no folder here, and the hub could not be asked ({type(error).__name__})"
    return None


def _of_folder(folder: Path) -> dict[str, Any]:
    """What a model's folder says of how Errata prompts it, so that nobody has to know. Raises ValueError."""
    file = folder / "errata.json"
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if not isinstance(found, dict) or set(found) - PROMPTED:
        raise ValueError(f"{file}: give an object with some of {', '.join(sorted(PROMPTED))}, and nothing else")
    return found
