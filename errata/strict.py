"""What all configurations share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown fields are refused: a misspelt setting must never be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
