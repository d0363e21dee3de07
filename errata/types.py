"""The small values the method passes around. Frozen, JSON-friendly, without behaviour beyond offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Domain(StrEnum):
    """What a problem set is about; decides the verifier, the step marks and the error kinds that exist."""

    MATH = "math"
    CHOICE = "choice"
    LOGIC = "logic"
    CODE = "code"


class Verdict(StrEnum):
    """Outcome of comparing a sample's final answer with gold. A timeout is never ``incorrect``."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    UNPARSABLE = "unparsable"
    TIMEOUT = "timeout"


class EvidenceKind(StrEnum):
    """Why an edit is labelled an error (docs/method.md, step 8)."""

    CONTRADICTION = "contradiction"
    DIVERGENCE = "divergence"
    VERIFIER = "verifier"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine is asked: chat turns, and the text the assistant's reply is forced to open with.

    The completion continues ``assistant_prefix``; it does not repeat it. Generation ends before the first of ``stop``.
    """

    messages: tuple[Message, ...]
    assistant_prefix: str
    version: str
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold answer; ``meta`` carries what a domain's verifier needs (choices, clues, tests).

    What else is right, and how near is near enough, stands in ``meta`` too: see ``errata.answers.criteria``.
    """

    question: str
    gold_answer: str
    gold_solution: str | None = None
    subject: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """A step as character offsets into its solution: ``text[start:end]``. ``index`` counts from 0.

    ``body_start`` is the offset behind the step's own label ("Step 3: ", "2. "), equal to ``start`` where it has none.
    Steps of one solution are contiguous: each starts where the last ended, the last ends at ``len(text)``, and what
    stands before the first ("Let's think step by step.") is the preamble ``text[:steps[0].start]``; so preamble and
    steps joined give the text back. A step's trailing separator (newlines) belongs to it.
    ``is_answer`` marks a step that only states the final answer.
    """

    index: int
    start: int
    end: int
    body_start: int
    is_answer: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The proof that an edit is wrong, JSON-friendly, stored with edit and pair.

    ``detail`` holds for ``contradiction``: ``equation`` (as written in the edit), ``left``, ``right`` (exact values as
    strings), ``original``; for ``divergence``: ``rate``, ``low``, ``high``, ``original_rate``, ``k``; for
    ``verifier``: ``report``; for ``unproven``: ``why``.
    """

    kind: EvidenceKind
    detail: dict[str, Any] = field(default_factory=dict)
