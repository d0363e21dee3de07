"""An imported row as it is kept: a pair, one side of a pair to come, or a sample; and the checks that hold for all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from errata.imports.config import GOLD
from errata.imports.turns import Ask, RowProblem
from errata.prompts import solve_prompt
from errata.shapes import SHAPES, Fields, FieldType
from errata.types import Domain, EvidenceKind

Row = dict[str, Any]
MESSAGES: FieldType = [{"role": "string", "content": "string"}]
#: The columns of ``steps_and_full`` in an imported dataset: those of every dataset, and how the prompt is given.
PAIR_FIELDS: Fields = {
    **SHAPES["steps_and_full"].fields,
    "prompt_messages": MESSAGES,
    "prompt_text": "string",
}
_ID_LENGTH = 24


@dataclass(frozen=True, slots=True)
class ImportedPair:
    """A prompt with a preferred and a rejected completion; ``prefix`` stands before both.

    ``is_step``: the sides are steps, which no EOS follows. ``own``: columns of ``steps_and_full`` that came along.
    """

    ask: Ask
    chosen: str
    rejected: str
    prefix: str = ""
    is_step: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportedSide:
    """A prompt with one completion: a sample to imitate where ``label`` is None, else one that is right or wrong."""

    ask: Ask
    text: str
    label: bool | None = None
    prefix: str = ""
    is_step: bool = False


Imported = ImportedPair | ImportedSide


def check(row: Imported, limit: int, sides: tuple[str, str] = ("chosen", "rejected")) -> None:
    """Raises RowProblem: an empty or overlong text, or sides without a difference to learn.

    ``sides``: what the file calls them.
    """
    right, wrong = sides
    texts = {"prompt": row.ask.question}
    if isinstance(row, ImportedPair):
        texts |= {right: row.chosen, wrong: row.rejected}
    else:
        texts["completion"] = row.text
    for name, text in texts.items():
        if not text.strip():
            raise RowProblem(f"'{name}' is empty")
        if len(text) > limit:
            raise RowProblem(f"'{name}' is longer than {limit} characters")
    if isinstance(row, ImportedPair):
        if row.chosen == row.rejected:
            raise RowProblem(f"'{right}' and '{wrong}' are equal")
        if row.chosen.split() == row.rejected.split():
            raise RowProblem(f"'{right}' and '{wrong}' differ in white space only")


def with_gold(row: Imported, values: Mapping[str, Any]) -> Imported:
    """The row with the gold answer that its columns give, of pairs. Raises RowProblem where that is no answer."""
    gold = values.get(GOLD)
    if not isinstance(row, ImportedPair) or gold is None:
        return row
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise RowProblem(f"'{GOLD}' is neither a text nor a number")
    # A table of numbers holds 18 as 18.0.
    text = str(int(gold)) if isinstance(gold, float) and gold.is_integer() else str(gold)
    return replace(row, own={**row.own, GOLD: text}) if text.strip() else row


def content_digest(row: Imported) -> bytes:
    """16 bytes that two rows share exactly where they say the same."""
    values = asdict(row)
    values.pop("own", None)
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).digest()[:16]


def as_row(row: Imported) -> Row:
    """The row as JSON values: the columns of ``PAIR_FIELDS``, or of a sample with the text as ``completion``."""
    ask = row.ask
    common = {
        "question": ask.question,
        "prefix": row.prefix,
        "problem_id": _identity("imp", ask.question),
        "domain": None if ask.domain is None else str(ask.domain),
        "prompt_messages": None if ask.messages is None else [asdict(turn) for turn in ask.messages],
        "prompt_text": ask.text,
    }
    if isinstance(row, ImportedSide):
        return {**common, "completion": row.text}
    columns = dict.fromkeys(PAIR_FIELDS) | common
    columns |= {
        "pair_id": "imp_" + content_digest(row).hex()[:_ID_LENGTH],
        "type": "step" if row.is_step else "full",
        "chosen": row.chosen,
        "rejected": row.rejected,
        "source": "import",
        "start": len(row.prefix) if row.is_step else None,
        "end": len(row.prefix) + len(row.chosen) if row.is_step else None,
    }
    columns |= {name: value for name, value in row.own.items() if name in PAIR_FIELDS and value is not None}
    # Nothing of an imported row was proven here, whatever it says of itself: that is kept beside it.
    claimed = {name: row.own[name] for name in ("evidence", "evidence_detail") if row.own.get(name) is not None}
    columns["evidence"] = str(EvidenceKind.UNPROVEN)
    columns["evidence_detail"] = json.dumps(
        {"why": "imported", **({"claimed": claimed} if claimed else {})}, sort_keys=True
    )
    return columns


def _identity(prefix: str, text: str) -> str:
    words = " ".join(text.split())
    return f"{prefix}_{hashlib.sha256(words.encode()).hexdigest()[:_ID_LENGTH]}"


def plain_prompt(row: Mapping[str, Any]) -> str | None:
    """The prompt of a stored row as one text, for formats without roles; None where it is known as messages only."""
    if row["prompt_text"] is not None:
        return str(row["prompt_text"])
    return None if row["prompt_messages"] else f"{_asked(row)}\n\n"


def prompt_messages(row: Mapping[str, Any]) -> list[dict[str, str]] | None:
    """The prompt of a stored row as messages; None where it is a text that is no message."""
    if row["prompt_messages"]:
        return list(row["prompt_messages"])
    return None if row["prompt_text"] is not None else [{"role": "user", "content": _asked(row)}]


def _asked(row: Mapping[str, Any]) -> str:
    return solve_prompt(row["question"], Domain(row["domain"] or Domain.MATH)).messages[0].content
