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


class Form(StrEnum):
    """What an edit does to the places that repeat or use the value it changes (docs/method.md, step 6)."""

    STANDS = "stands"
    CONSISTENT = "consistent"


EditorName = Literal["words", "slip", "rule", "mined", "random-token"]
"""Who made an edit: a model asked in words, its likeliest wrong tokens, a rule, a resampled step, or chance."""


class EvidenceKind(StrEnum):
    """Why an edit is labelled an error (docs/method.md, step 8)."""

    CONTRADICTION = "contradiction"
    IDENTITY = "identity"
    REPLAY = "replay"
    DIVERGENCE = "divergence"
    VERIFIER = "verifier"
    UNPROVEN = "unproven"


class Reason(StrEnum):
    """Why an input yields no pair: each problem, sample, step and edit without one has exactly one of these.

    The value is the name in JSON and in the funnel; ``sentence`` is what a person is shown.
    """

    sentence: str

    def __new__(cls, value: str, sentence: str) -> Reason:
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.sentence = sentence
        return reason

    # problems, steps and edits
    ERROR = "error", "A fault of the program ended the work on this problem; its error is kept."
    # problems
    NO_SAMPLES = "no_samples", "The problem has no solution at all."
    NO_CORRECT = "no_correct_solution", "No sampled solution reached the gold answer."
    NO_INCORRECT = "no_incorrect_solution", "Every solution was right, and the preset wants a wrong one too."
    LABEL_SUSPECT = "label_suspect", "The samples agree with each other against the gold answer, which may be wrong."
    # samples
    NOT_DRAWN = "not_drawn", "Another solution of the problem was drawn."
    DRAWN_BEFORE = "drawn_before", "A job that this one extends drew the very same solution."
    ADMITS_MISTAKE = "admits_mistake", "The solution admits or repairs a mistake in its own text."
    UNPARSABLE = "unparsable_answer", "No final answer could be read from the solution."
    CUT = "cut_at_limit", "The solution was cut at its limit of tokens before it stated an answer."
    NOTHING_WRITTEN = "nothing_written", "The solution is empty."
    THOUGHTS_ONLY = "thoughts_only", "The solution holds thoughts only, and no answer behind them."
    TIMEOUT = "answer_timeout", "Comparing the answer took too long."
    PROBLEM_DROPPED = "problem_dropped", "The problem as a whole was set aside."
    # steps
    THOUGHT_STEP = "thought_step", "The step is a thought, which the job does not offer."
    ANSWER_STEP = "answer_step", "The step only states the final answer."
    NO_KIND = "no_kind_applies", "No error kind has a false edit of this step."
    FALSE_STEP = "step_already_false", "An equation of the step is false already."
    BEHIND_FALSE = "behind_false_step", "An equation of a step before it is false."
    OVER_QUOTA = "over_quota", "The solution's quota of edited steps was used up."
    EDITED_BEFORE = "edited_before", "A job that this one extends edited the step."
    STOPPED = "job_stopped", "The job had reached the limit at which it stops."
    # edits
    NO_RULE_EDIT = "no_rule_edit", "The rule found nothing to change."
    NO_SLIP = "no_slip", "No likely error of the model at a number or sign of the step can be carried and proven."
    NO_MINED = "no_mined_error", "None of the model's own samples of the step can be wrong."
    NO_CHANGE = "no_change", "The edit equals the original step."
    EMPTY = "empty", "The edit is empty."
    NO_REPLY = "unparsable_reply", "No step could be read from the model's reply."
    ECHOES_MARKER = "echoes_marker", "The reply repeats the number that the prompt gives to a step."
    ECHOES_INSTRUCTION = "echoes_instruction", "The reply repeats the prompt's instruction."
    ECHOES_EXAMPLE = "echoes_example", "The reply repeats one of the prompt's examples."
    ANNOUNCES = "announces_edit", "The reply announces the edit instead of being it."
    NOT_THE_KIND = "not_the_kind", "The edit is another equation or sentence, not the change that was asked for."
    NOT_CARRIED = "not_carried", "It is open which places of the step repeat or use the changed value."
    ADDED_STEP = "adds_or_removes_step", "The edit adds or removes a step."
    ADMITS_ERROR = "admits_error", "The edit says that it contains an error."
    BROKEN_FORMAT = "broken_format", "The edit breaks fences, braces or the answer box."
    LEFT_SPAN = "left_offered_span", "The edit changes text outside the part that was offered."
    TOO_FAR = "distance_too_large", "The edit is farther from the original than the job allows."
    MARK_MISMATCH = "mark_disagrees", "A calculator mark disagrees with the text it annotates."
    FALSE_NEGATIVE = "false_negative", "The edited step is still true, and its continuations reach the gold answer."
    UNPROVEN = "unproven", "Nothing proves the edit wrong, and the job drops unproven edits."
    NO_REST = (
        "no_diverging_rest",
        "The error could not be carried to a wrong answer, and the job wants whole solutions on the rejected side.",
    )
    NOT_CHOSEN = "not_chosen", "The problem already has its number of step pairs."


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
    ``is_answer`` marks a step that only states the final answer, ``is_thought`` one that is a thought between markers.
    """

    index: int
    start: int
    end: int
    body_start: int
    is_answer: bool = False
    is_thought: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The proof that an edit is wrong, JSON-friendly, stored with edit and pair.

    ``detail`` holds for ``contradiction``: ``equation`` (as written in the edit), ``left``, ``right`` (exact values as
    strings), ``original``; for ``identity``: the same and ``at``, values of the variables where the sides differ, as
    strings; for ``replay``: ``equation``, ``original``, ``answer`` (what the solution comes to); for ``divergence``:
    ``rate``, ``low``, ``high``, ``original_rate``, ``k``; for
    ``verifier``: ``report``; for ``unproven``: ``why``.
    """

    kind: EvidenceKind
    detail: dict[str, Any] = field(default_factory=dict)
