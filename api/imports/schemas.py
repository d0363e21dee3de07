"""What an import is asked for, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from api.schemas import Name, Request, json_value
from errata.imports.config import FormatName, checked_mapping


class ImportIn(Request):
    """What a file needs besides its rows."""

    name: Name
    format: FormatName | None = None
    mapping: Annotated[dict[str, str], BeforeValidator(checked_mapping), BeforeValidator(json_value)] = Field(
        default_factory=dict
    )
    license: str | None = Field(None, max_length=200)
    source_url: str | None = Field(None, max_length=2000, pattern=r"^https?://")
    file_name: str | None = Field(None, max_length=255)
    config: Annotated[dict[str, Any], BeforeValidator(json_value)] = Field(default_factory=dict)
    on_bad_row: Literal["report", "refuse"] = "report"


class BadRows(BaseModel):
    """Rows that were not taken for one reason."""

    reason: str
    count: int
    lines: list[int] = Field(description="The first of them, from 1.")


class Imported(BaseModel):
    """Where an imported dataset came from, and what became of the file's rows."""

    file: str | None
    file_sha256: str = Field(description="Of the file as it was sent.")
    validation_file: str | None = Field(None, description="A second file, whose rows are the held-out split.")
    validation_file_sha256: str | None = None
    format: str
    mapping: dict[str, str]
    license: str | None
    source_url: str | None
    ignored_columns: list[str] = Field(description="Columns that mean nothing in this format.")
    rows: int
    pairs: int
    steps: int = Field(description="Of the pairs, those whose sides are steps: no EOS follows them.")
    samples: int
    duplicates: int = Field(description="Rows that say what an earlier row says; left out.")
    unpaired: dict[str, int] = Field(description="Right and wrong completions without a partner; left out.")
    rejected_count: int
    rejected: list[BadRows]
    conversational: bool
    verbatim_prompts: int = Field(description="Prompts that are trained on as they stand, without a chat template.")
    own_prompts: int = Field(
        0, description="Prompts that are questions as Errata asks them: only with all of them a dataset can be mixed."
    )
