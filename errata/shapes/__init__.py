"""The shapes a dataset's rows come in, what each is for, and which one loads by default."""

from __future__ import annotations

from errata.shapes.defaults import default_shape, has_train_rows, shapes_of
from errata.shapes.examples import EXAMPLE_PAIR, EXAMPLE_SAMPLE, example_row, shapes_table
from errata.shapes.records import (
    PAIR_FIELDS,
    SEPARATOR,
    Fields,
    FieldType,
    PairRecord,
    Row,
    SampleRecord,
    evidence_text,
    user_message,
    whole_sides,
)
from errata.shapes.registry import SHAPES, Shape

__all__ = [
    "EXAMPLE_PAIR",
    "EXAMPLE_SAMPLE",
    "PAIR_FIELDS",
    "SEPARATOR",
    "SHAPES",
    "FieldType",
    "Fields",
    "PairRecord",
    "Row",
    "SampleRecord",
    "Shape",
    "default_shape",
    "evidence_text",
    "example_row",
    "has_train_rows",
    "shapes_of",
    "shapes_table",
    "user_message",
    "whole_sides",
]
