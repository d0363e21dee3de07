"""Which files of a dataset on the hub hold one split of one config.

A card that names its files decides. Otherwise names do: a config is a folder, and the split's name stands in the file's
path as a word. Where nothing names a split, all files are the split ``train``. The hub also converts datasets to
Parquet on a branch of its own, in folders ``config/split``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.http.uploads import format_by_name

CONVERTED = "refs/convert/parquet"
_SPLITS = ("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval")
_BESIDE = ("readme", "license", "dataset_infos", "dataset_dict", "state", "metadata", "package", "config")
_SHOWN = 20


class NoSuchPart(ValueError):
    """The dataset has no such config or split; ``field`` says which of them, ``remedy`` what to do."""

    def __init__(self, field: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.field, self.remedy = field, remedy


@dataclass(frozen=True)
class Choice:
    """Files in the order in which they are read, and their sizes in bytes."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]


def choose(sizes: Mapping[str, int], configs: Any, config: str | None, split: str) -> Choice:
    """The files of a split. ``configs``: as the card has them, or None. Raises NoSuchPart."""
    files = {name: size for name, size in sizes.items() if _is_table(name)}
    named = _named_by_card(configs)
    if named:
        one = _one_config(named, config)
        patterns = named[one].get(split)
        if patterns is None:
            raise _no_split(split, named[one])
        names = [name for name in files if any(_fits(name, pattern) for pattern in patterns)]
    else:
        names = _named_by_paths(list(files), config, split)
    if not names:
        raise NoSuchPart("split", f"no JSON lines, JSON, CSV, TSV or Parquet file holds '{split[:80]}'", _OTHER)
    return _choice(files, names)


def choose_converted(sizes: Mapping[str, int], config: str | None, split: str) -> Choice:
    """The files of a split on the branch ``CONVERTED``. Raises NoSuchPart."""
    found: dict[str, dict[str, list[str]]] = {}
    for name in sizes:
        parts = name.split("/")
        if len(parts) == 3 and name.endswith(".parquet"):
            # The hub converts no more than the first part of a large dataset: that is not the split.
            found.setdefault(parts[0], {}).setdefault(parts[1], []).append(name)
    if not found:
        raise NoSuchPart("split", "the dataset holds no table that can be read", _OTHER)
    splits = found[_one_config(found, config)]
    if split not in splits:
        raise _no_split(split, splits)
    return _choice(sizes, splits[split])


_OTHER = "name a dataset with such files, or send the file itself"


def _choice(sizes: Mapping[str, int], names: list[str]) -> Choice:
    names = sorted(names)
    return Choice(tuple(names), tuple(sizes[name] for name in names))


def _is_table(name: str) -> bool:
    last = name.lower().rpartition("/")[2]
    return format_by_name(last) is not None and last.partition(".")[0] not in _BESIDE and not name.startswith(".")


def _named_by_card(configs: Any) -> dict[str, dict[str, list[str]]]:
    """Patterns by split by config. Files without a split are those of ``train``."""
    named: dict[str, dict[str, list[str]]] = {}
    for each in configs if isinstance(configs, list) else []:
        files = each.get("data_files") if isinstance(each, dict) else None
        entries = files if isinstance(files, list) else [files] if files else []
        for entry in entries:
            path, split = (
                (entry.get("path"), entry.get("split", "train")) if isinstance(entry, dict) else (entry, "train")
            )
            paths = path if isinstance(path, list) else [path]
            splits = named.setdefault(str(each.get("config_name", "default")), {})
            splits.setdefault(str(split), []).extend(str(one) for one in paths if one)
    return named


def _one_config(named: Mapping[str, Any], config: str | None) -> str:
    known = ", ".join(list(named)[:_SHOWN])
    if config is not None:
        if config in named:
            return config
        raise NoSuchPart("config", f"the dataset has no config '{config[:80]}'", f"give one of {known}")
    if len(named) == 1:
        return next(iter(named))
    if "default" in named:
        return "default"
    raise NoSuchPart("config", "the dataset has several configs", f"give one of {known}")


def _no_split(split: str, known: Mapping[str, Any]) -> NoSuchPart:
    return NoSuchPart(
        "split", f"the config has no split '{split[:80]}'", f"give one of {', '.join(list(known)[:_SHOWN])}"
    )


def _fits(name: str, pattern: str) -> bool:
    # `**/` stands for any folders, also for none; fnmatch's `*` passes slashes anyway.
    return any(fnmatch.fnmatchcase(name, each) for each in (pattern, pattern.replace("**/", "")))


def _named_by_paths(names: list[str], config: str | None, split: str) -> list[str]:
    if config is not None:
        names = [name for name in names if name.startswith((f"{config}/", f"data/{config}/"))]
        if not names:
            raise NoSuchPart("config", f"the dataset has no config '{config[:80]}'", "leave it out, or give another")
    chosen = [name for name in names if _has_word(name, split)]
    if not chosen and split == "train" and not any(_has_word(name, word) for name in names for word in _SPLITS):
        chosen = names
    folders = {_above(name, split) for name in chosen}
    if config is None and len(folders) > 1:
        known = ", ".join(sorted(folders)[:_SHOWN])
        raise NoSuchPart("config", "several folders hold this split", f"give one of {known}")
    return chosen


def _has_word(name: str, word: str) -> bool:
    return re.search(rf"(^|[^a-z0-9]){re.escape(word.lower())}([^a-z0-9]|$)", name.lower()) is not None


def _above(name: str, split: str) -> str:
    """The folder that a config would be: without the file, and without ``data`` and the split's own folder."""
    parts = [part for part in name.split("/")[:-1] if part != "data" and not _has_word(part, split)]
    return "/".join(parts)
