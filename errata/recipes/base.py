"""What a recipe is: one file for one consumer, and where it stands in the dataset's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FOLDER = "recipes"
STEPWISE = f"{FOLDER}/axolotl/stepwise"
SPLITS = ("train", "test")
Row = dict[str, Any]
Tables = Mapping[str, Mapping[str, int]]
"""Rows per configuration and split, as in a dataset's manifest under ``rows``."""

#: Configurations whose completions end at an answer, those with turns first: a chat template fits a tuned model.
PREFERENCE = ("whole_conversational", "whole", "whole_openai")
KTO = ("whole_kto_conversational", "whole_kto")
SFT = ("sft_conversational", "sft")


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """A configuration or command as text.

    ``path`` is relative to the dataset's folder. ``use`` is the command, run from that folder; ``mapping`` says which
    column goes to which field of the consumer.
    """

    path: str
    consumer: str
    use: str
    mapping: str
    text: str


@dataclass(frozen=True, slots=True)
class RowRecipe:
    """JSON lines with one row per row of ``source``, for a consumer that cannot map that configuration's columns.

    ``folder`` holds one file per split of ``source``: ``<folder>/<split>.jsonl``.
    """

    folder: str
    consumer: str
    use: str
    mapping: str
    source: str
    splits: tuple[str, ...]
    convert: Callable[[Row], Row]

    def path(self, split: str) -> str:
        """Where the rows of a split stand, relative to the dataset's folder."""
        return f"{self.folder}/{split}.jsonl"


def first_of(tables: Tables, names: Sequence[str]) -> str | None:
    """The first of these configurations that has rows to train on."""
    return next((name for name in names if tables.get(name, {}).get("train")), None)


def splits_of(tables: Tables, name: str) -> tuple[str, ...]:
    """The splits in which a configuration has rows."""
    return tuple(split for split in SPLITS if tables.get(name, {}).get(split))


def has_turns(name: str) -> bool:
    """Whether a configuration's columns hold turns with roles, so that the consumer applies a chat template."""
    return name.endswith(("_conversational", "_openai"))
