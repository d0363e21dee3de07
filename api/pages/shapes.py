"""The shapes that a dataset was written in, as its page tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from errata.shapes import SHAPES, example_row

_ENDS = {"answer": "an answer", "step": "the step, of step pairs", "nothing": ""}


@dataclass(frozen=True, slots=True)
class WrittenShape:
    """One configuration of a dataset: whom it is for, and an example row as JSON."""

    name: str
    default: bool
    about: str
    trainers: str
    loader: str
    ends: str
    eos: str
    example: str


def written_shapes(manifest: Mapping[str, Any]) -> list[WrittenShape]:
    """The shapes of the registry that a manifest counts rows of, in its order."""
    return [
        WrittenShape(
            name,
            name == manifest.get("default_shape"),
            shape.about,
            shape.trainers,
            shape.loader,
            _ENDS[shape.ends],
            shape.eos,
            json.dumps(example_row(shape), ensure_ascii=False, indent=2),
        )
        for name, shape in SHAPES.items()
        if name in (manifest.get("rows") or {})
    ]


def whole_figures(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How many pairs are whole, by kind, and how many were left out, by reason; empty for older manifests."""
    whole = manifest.get("whole") or {}
    return {name: whole[name] for name in ("pairs", "left_out", "left_out_samples") if whole.get(name)}
