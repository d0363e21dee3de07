"""What shapes make rows of: one pair with its whole history, or one correct sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from errata.prompts import solve_message
from errata.rests import Rest
from errata.thoughts import THOUGHTS, Markers
from errata.types import Domain

Row = dict[str, Any]
FieldType = str | list[Any] | dict[str, Any]
Fields = dict[str, FieldType]
Turn = list[dict[str, str]]

#: Between what is asked and the solution in a text without roles. The prompt ends with it and the completion begins
#: with a character that is no white space, so that no tokenizer merges the two.
SEPARATOR = "\n\n"


@lru_cache(maxsize=256)  # the pairs and samples of a problem come one after the other
def user_message(question: str, domain: str) -> str:
    """What a solver is asked."""
    return solve_message(question, Domain(domain))


def user_turn(content: str) -> Turn:
    """The prompt of a conversation."""
    return [{"role": "user", "content": content}]


def assistant_turn(content: str) -> Turn:
    """The reply of a conversation."""
    return [{"role": "assistant", "content": content}]


def evidence_text(detail: dict[str, Any] | None) -> str | None:
    """Evidence as JSON text with sorted keys: a column of one type, whatever the kind of proof."""
    return None if detail is None else json.dumps(detail, ensure_ascii=False, sort_keys=True)


def whole_sides(prefix: str, chosen: str, rejected: str, rest: Rest | None) -> tuple[str, str] | None:
    """``PairRecord.whole`` of its columns."""
    if rest is None or rest.kind is None:
        return None
    one, other = (prefix + chosen + rest.chosen).lstrip(), (prefix + rejected + rest.rejected).lstrip()
    return None if one == other else (one, other)


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One pair with its whole history, in the order of the ``steps_and_full`` columns.

    ``start`` and ``end`` are the chosen step's character offsets in its solution, so ``start == len(prefix)``;
    ``form`` and ``editor`` say how the error was made (null for full pairs); ``evidence`` is the kind of proof (null
    for a full pair: both its sides were judged against the gold answer) and ``evidence_detail`` its JSON text;
    ``error_rate`` is how often the model errs at the step, null where the job did not measure it; ``seed`` is that of
    the rejected text; ``problem_external_id`` is the sender's own id of the problem. No columns are ``thoughts``, the
    markers that the job's steps are cut by, and ``rest``, what follows on both sides to their answers (None: not known,
    so that there is no whole form).
    """

    pair_id: str
    type: str
    question: str
    prefix: str
    chosen: str
    rejected: str
    step_index: int | None
    start: int | None
    end: int | None
    error_kind: str | None
    form: str | None
    editor: str | None
    distance: int | None
    evidence: str | None
    evidence_detail: str | None
    source: str
    problem_id: str
    job_id: str
    language_model: str | None
    prompt_version: str | None
    seed: int | None
    domain: str
    problem_external_id: str | None = None
    gold_answer: str | None = None
    error_rate: float | None = None
    thoughts: Markers = THOUGHTS
    rest: Rest | None = None

    @property
    def user_message(self) -> str:
        """What the solver was asked."""
        return user_message(self.question, self.domain)

    @property
    def plain_prompt(self) -> str:
        """Question and steps before as one text, for formats without roles."""
        return f"{self.user_message}{SEPARATOR}{self.prefix}"

    @property
    def whole(self) -> tuple[str, str] | None:
        """Both sides from the solution's beginning to an answer, without white space at the start; None: left out."""
        return whole_sides(self.prefix, self.chosen, self.rejected, self.rest)


_TYPES = {"int": "int64", "float": "float64", "str": "string"}
PAIR_FIELDS: Fields = {
    field.name: _TYPES[str(field.type).partition(" ")[0]]
    for field in fields(PairRecord)
    if field.name not in ("thoughts", "rest")
}


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """A correct sample, as it was written."""

    question: str
    completion: str
    problem_id: str
    job_id: str
    domain: str

    @property
    def user_message(self) -> str:
        """What the solver was asked."""
        return user_message(self.question, self.domain)
