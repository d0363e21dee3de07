"""What follows the step of a pair on either side, so that both sides end at an answer (docs/method.md step 9).

A step pair ends in the middle of a solution. A trainer that appends an end-of-sequence token to every completion would
teach the model to stop there. With its rest a pair is whole: the chosen side ends as its solution does, the rejected
side comes to an answer of its own. Pure: texts in, candidates out; their answers are judged elsewhere (workers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from errata.carrying import carry_step
from errata.types import Domain, EvidenceKind, Form, Verdict


class RestKind(StrEnum):
    """Who wrote what follows on the rejected side."""

    PROGRAM = "program"
    CONTINUATION = "continuation"
    OWN = "own"
    STANDS = "stands"
    IMPORTED = "imported"


REST_KINDS: Mapping[RestKind, str] = {
    RestKind.PROGRAM: "the solution, recomputed by program with the changed value",
    RestKind.CONTINUATION: "a model's continuation of the edited step that comes to a wrong answer",
    RestKind.OWN: "nothing is added: the side is whole as it is, and its answer is wrong",
    RestKind.STANDS: "a rest that comes to the right answer behind a wrong step",
    RestKind.IMPORTED: "nothing is added: the file gave both sides whole, and nobody judged their answers",
}


class LeftOut(StrEnum):
    """Why a pair has no whole form, or a sample no row."""

    NO_REST = "no_rest"
    ANSWER_STAYS = "answer_stays"
    CUT = "cut_at_limit"


LEFT_OUT: Mapping[LeftOut, str] = {
    LeftOut.NO_REST: "The error cannot be carried to an answer by program, and no continuation ends at a wrong one.",
    LeftOut.ANSWER_STAYS: "The rejected side would come to the right answer all the same.",
    LeftOut.CUT: "A solution was cut at its limit of tokens: it does not end at an answer.",
}


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows a pair's step. ``kind`` is None where there is no whole form; ``why`` says the reason then.

    ``chosen`` and ``rejected`` are the texts behind the pair's own sides, empty where those are whole.
    """

    kind: RestKind | None
    chosen: str = ""
    rejected: str = ""
    why: LeftOut | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for the pair's row."""
        told = {"kind": self.kind, "chosen": self.chosen, "rejected": self.rejected, "why": self.why}
        return {name: str(value) for name, value in told.items() if value}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """The rest that ``as_dict`` wrote."""
        kind, why = stored.get("kind"), stored.get("why")
        texts = (stored.get("chosen", ""), stored.get("rejected", ""))
        return cls(RestKind(kind) if kind else None, *texts, LeftOut(why) if why else None)


@dataclass(frozen=True, slots=True)
class RestSource:
    """A step pair and what is known of its edit.

    ``solution[start:end]`` is the step of index ``step``, ``edited`` what takes its place. ``continuations``: texts
    that a model wrote behind the edited step, in their order, without those that were cut. ``given``: the rests that
    the pair has already (mode ``dynamic``). ``cut``: whether the solution was cut at its limit of tokens.
    """

    question: str
    solution: str
    start: int
    end: int
    step: int
    edited: str
    domain: Domain = Domain.MATH
    form: str | None = None
    error_kind: str | None = None
    evidence: str | None = None
    continuations: Sequence[str] = ()
    given: tuple[str, str] | None = None
    cut: bool = False

    @property
    def before(self) -> str:
        """The rejected side's solution up to its rest."""
        return self.solution[: self.start] + self.edited

    @property
    def after(self) -> str:
        """What the solution says behind the step."""
        return self.solution[self.end :]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rest of the rejected side, good if the verifier finds the answer of the whole wrong."""

    kind: RestKind
    text: str


def settled_rest(source: RestSource) -> Rest | None:
    """The rest that needs no verdict: of a cut solution, of a pair that is whole, of a verifier's proof; else None."""
    if source.cut:
        return Rest(None, source.after, why=LeftOut.CUT)
    if source.given is not None:
        made = source.given[1] in source.continuations
        return Rest(RestKind.CONTINUATION if made else RestKind.PROGRAM)
    if source.evidence == EvidenceKind.VERIFIER:
        # The whole with the edit in it was given to the verifier, and failed.
        return Rest(RestKind.OWN, source.after, source.after)
    return None


def rest_candidates(source: RestSource) -> Iterator[Candidate]:
    """Rests of the rejected side, best first: by program, none where the step is the last, by a model."""
    if source.domain is Domain.MATH:
        carried = carry_step(source.question, source.solution, source.step, source.edited, "end")
        if carried is not None and carried.step == source.edited:
            yield Candidate(RestKind.PROGRAM, carried.solution[len(source.before) :])
    if not source.after.strip():
        yield Candidate(RestKind.OWN, source.after)
    for text in dict.fromkeys(source.continuations):
        yield Candidate(RestKind.CONTINUATION, text)


def chosen_rest(source: RestSource, judged: Sequence[tuple[Candidate, Verdict]]) -> Rest:
    """The first candidate whose answer is wrong; without one, the reason why the pair has no whole form."""
    for candidate, verdict in judged:
        if verdict is Verdict.INCORRECT:
            return Rest(candidate.kind, source.after, candidate.text)
    if leaves_result(source):
        return Rest(None, source.after, source.after, LeftOut.ANSWER_STAYS)
    right = next((candidate.text for candidate, verdict in judged if verdict is Verdict.CORRECT), None)
    if right is not None:
        return Rest(None, source.after, right, LeftOut.ANSWER_STAYS)
    return Rest(None, source.after, why=LeftOut.NO_REST)


def leaves_result(source: RestSource) -> bool:
    """Whether the edit contradicts itself and leaves its result standing, so that the solution goes on as it did."""
    proven = source.evidence in (EvidenceKind.CONTRADICTION, EvidenceKind.IDENTITY)
    stands = source.form in (None, Form.STANDS) and source.error_kind != "calculation"
    return source.domain is Domain.MATH and proven and stands


def allowing_right_answers(rest: Rest) -> Rest:
    """A pair that was left out because its rejected side stays right, as one that may be trained on; else the same."""
    if rest.why is not LeftOut.ANSWER_STAYS:
        return rest
    return Rest(RestKind.STANDS, rest.chosen, rest.rejected)
