"""What the gates look at in an imported dataset: its pairs in the staged file, and the tokenizers there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from errata.gates.labels import LabelCheck
from errata.gates.lengths import Count
from errata.imports.rows import plain_prompt
from errata.thoughts import THOUGHTS
from errata.types import Domain, Problem
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel
from workers.stages.gate_rows import CHARACTERS, CheckedPair, local_counter

_PAGE = 500
_TOKENIZERS = 3  # lengths are counted by so many at most
_STEP = "they are steps, and the file does not hold the solutions that they are of"
_NO_GOLD = "their rows tell no gold answer (column `gold_answer`)"

Row = Mapping[str, Any]


class ImportedRowsToCheck:
    """The pairs of an imported file. ``rows`` gives its staged rows from the beginning, at each call."""

    no_tokenizer = "no model of the workspace has its tokenizer on this machine"

    def __init__(self, session: Session, workspace_id: str, rows: Callable[[], Iterable[Row]], domain: Domain) -> None:
        self._session, self._workspace_id, self._rows, self._domain = session, workspace_id, rows, domain

    def pairs(self, ids: Sequence[str]) -> Iterator[list[CheckedPair]]:
        """See CheckedRows: in the order of the file, which is read once."""
        wanted = set(ids)
        found = (self._checked(row) for row in self._rows() if row.get("pair_id") in wanted)
        while page := list(islice(found, _PAGE)):
            yield page

    def counters(self) -> list[tuple[str, Count]]:
        """See CheckedRows: the first models of the workspace, and of all, whose tokenizers are on this machine."""
        visible = or_(
            LanguageModel.workspace_id == self._workspace_id,
            (LanguageModel.workspace_id == DEFAULT_WORKSPACE) & LanguageModel.training_run_id.is_(None),
        )
        query = select(LanguageModel).where(visible).order_by(LanguageModel.created_at, LanguageModel.id)
        found: dict[str, tuple[str, Count]] = {}
        for model in self._session.scalars(query):
            # A trained model has the tokenizer of its base.
            source = str(model.config.get("tokenizer") or model.config.get("path"))
            if model.training_run_id is None and source not in found and (counter := local_counter(model)):
                found[source] = counter
            if len(found) == _TOKENIZERS:
                break
        return list(found.values()) or [CHARACTERS]

    def _checked(self, row: Row) -> CheckedPair:
        """A reply is judged whole; a step alone is measured only."""
        is_step, gold = row["type"] == "step", row.get("gold_answer")
        before = "" if is_step else row["prefix"]
        domain = Domain(row["domain"] or self._domain)
        check = LabelCheck(
            type=row["type"],
            problem=Problem(row["question"], gold or ""),
            domain=domain,
            chosen=before + row["chosen"],
            rejected=before + row["rejected"],
            solution="",
        )
        prompt = asked(row) + (row["prefix"] if is_step else "")
        return CheckedPair(row["pair_id"], check, THOUGHTS, prompt, _unjudged(is_step, bool(gold), domain))


def _unjudged(is_step: bool, has_gold: bool, domain: Domain) -> str:
    if is_step:
        return _STEP
    if not has_gold:
        return _NO_GOLD
    return "" if domain is Domain.MATH else f"answers of domain {domain} are not judged by a gold answer alone"


def asked(row: Row) -> str:
    """A prompt as one text, to be measured: messages behind each other, without a chat template's marks."""
    text = plain_prompt(row)
    return text if text is not None else "\n\n".join(turn["content"] for turn in row["prompt_messages"]) + "\n\n"
