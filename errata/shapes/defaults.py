"""Which shapes a dataset is written in when nobody says, and which of them loads when nobody names one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from errata.output_config import ShapeName
from errata.seeds import Split
from errata.shapes.registry import SHAPES

ALWAYS: ShapeName = "steps_and_full"
_CONVERSATIONAL: tuple[ShapeName, ...] = ("whole_conversational", "sft", "sft_conversational")
_PLAIN: tuple[ShapeName, ...] = ("whole", "sft")


def shapes_of(asked: Sequence[ShapeName] | None, *, chat_template: bool) -> list[ShapeName]:
    """The shapes to write, in the registry's order: those asked for, else those that suit the solver's model."""
    wanted = asked if asked is not None else _CONVERSATIONAL if chat_template else _PLAIN
    return [name for name in SHAPES if name == ALWAYS or name in wanted]


def default_shape(written: Iterable[ShapeName], *, chat_template: bool) -> ShapeName | None:
    """The configuration that ``load_dataset(folder)`` gives: one that a trainer of TRL trains on as it stands.

    Preference rows come before unpaired ones and those before samples; in each, those that suit the model come first.
    None where no such shape was written: then a loader asks for a name, and nothing is trained on by mistake.
    """
    safe = [name for name in written if SHAPES[name].trl]
    kinds = ("DPOTrainer", "KTOTrainer", "SFTTrainer")
    order = {kind: at for at, kind in enumerate(kinds)}
    suits = "applied" if chat_template else "not applied"
    return min(safe, key=lambda n: (order[SHAPES[n].trl[0]], SHAPES[n].chat_template != suits), default=None)


def has_train_rows(rows: Mapping[ShapeName, Mapping[Split, int]]) -> list[ShapeName]:
    """The shapes with rows in the split ``train``."""
    return [name for name, splits in rows.items() if splits.get("train")]
