"""Why a job gave nothing, or little, and what to try: one sentence, read from its funnel alone.

The funnel is a chain: problems are kept, their steps edited, the edits proven, and proven edits become pairs. The link
that lets the least through is the cause, and the reason that most of what it held back has in common is what is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from errata.types import Reason, Verdict

LOW = 0.1
"""A yield below this is low: pairs per problem, and the shares of problems kept and of edits proven."""


class Advice(NamedTuple):
    """What happened, as it follows a count ("12 of 40 edits ..."), and what to try."""

    what: str
    remedy: str


_READABLE = "let the model answer in its own format (sampling.opening), or show it examples (sampling.few_shot)"
_FORMAT = "show the model examples (editing.few_shot), or let slips and rules take over (editing.fallback)"
_OTHER_EDITOR = "let slips and rules take over (editing.fallback), or raise editing.attempts"
_PROVABLE = "leave out the kinds that the funnel shows unproven (editing.kinds), or set proof.continuations.when"
ADVICE: Mapping[Reason, Advice] = {
    Reason.ERROR: Advice("met a fault of the program", "see the job's failed-problems, and retry the job"),
    Reason.NO_SAMPLES: Advice("have no solution at all", "bring solutions for them, or sample from a model"),
    Reason.NO_CORRECT: Advice(
        "have no correct solution",
        "try easier problems, few-shot examples (sampling.few_shot) or more samples (sampling.samples)",
    ),
    Reason.NO_INCORRECT: Advice(
        "have no incorrect solution, which the job wants too",
        "turn selection.require_both off, raise sampling.temperature, or take harder problems",
    ),
    Reason.LABEL_SUSPECT: Advice(
        "have samples that agree with each other against the gold answer",
        "check the gold answers, or turn selection.label_check off if they are right",
    ),
    Reason.NOT_DRAWN: Advice("were not needed", "lower sampling.samples, or turn sampling.adaptive on"),
    Reason.ADMITS_MISTAKE: Advice(
        "are correct but admit or repair a mistake",
        "turn selection.drop_admitting off, or lower sampling.temperature",
    ),
    Reason.UNPARSABLE: Advice("have no answer that can be read", _READABLE),
    Reason.CUT: Advice("were cut at their limit of tokens", "raise sampling.max_tokens, or set thoughts.budget"),
    Reason.NOTHING_WRITTEN: Advice("are empty", _READABLE),
    Reason.THOUGHTS_ONLY: Advice(
        "hold thoughts and no answer",
        "raise sampling.max_tokens, set thoughts.budget, or turn thoughts off for this model",
    ),
    Reason.TIMEOUT: Advice(
        "took too long to compare with the gold answer", "give the gold answers in a simpler form, or shorter tests"
    ),
    Reason.PROBLEM_DROPPED: Advice("belong to problems that were set aside", "see the problems' own reasons"),
    Reason.THOUGHT_STEP: Advice("are thoughts", "set thoughts.offer to have thoughts edited as well"),
    Reason.ANSWER_STEP: Advice(
        "only state the final answer",
        "take problems that need more steps, ask for steps by examples (sampling.few_shot), or set"
        " editing.offer_answer_steps",
    ),
    Reason.NO_KIND: Advice(
        "have nothing that an error kind could change and a proof could show",
        "allow more kinds (editing.kinds), or set proof.continuations.when to have other steps proven",
    ),
    Reason.FALSE_STEP: Advice(
        "are false already",
        "check how the solutions write their equations, or turn selection.drop_false_steps off",
    ),
    Reason.BEHIND_FALSE: Advice(
        "stand behind a step that is false already",
        "check how the solutions write their equations, or turn selection.drop_behind_false off",
    ),
    Reason.OVER_QUOTA: Advice("are beyond the quota of edits", "raise editing.edits_per_solution"),
    Reason.NO_RULE_EDIT: Advice("found nothing that the rule could change", "allow more kinds (editing.kinds)"),
    Reason.NO_SLIP: Advice(
        "have no likely error of the model that can be carried and proven",
        "lower editing.slips.min_probability, or let rules take over (editing.fallback)",
    ),
    Reason.NO_MINED: Advice(
        "are written right by the model in every sample",
        "raise editing.mined.k or editing.mined.temperature, take harder problems, or edit by slips",
    ),
    Reason.ECHOES_MARKER: Advice("repeated the prompt's own markers", _FORMAT),
    Reason.ECHOES_INSTRUCTION: Advice("repeated the instruction", _FORMAT),
    Reason.ECHOES_EXAMPLE: Advice("repeated an example", "change editing.few_shot, or raise editing.temperature"),
    Reason.ANNOUNCES: Advice("announced the edit", _FORMAT),
    Reason.NO_CHANGE: Advice("changed nothing", f"raise editing.temperature; {_FORMAT}"),
    Reason.EMPTY: Advice("are empty", _FORMAT),
    Reason.NO_REPLY: Advice("could not be read from the model's reply", _FORMAT),
    Reason.NOT_THE_KIND: Advice("are not the change that was asked for", _FORMAT),
    Reason.NOT_CARRIED: Advice(
        "left it open what else of the step follows from them", "give editing.form 'stands' more weight"
    ),
    Reason.ADDED_STEP: Advice("added or removed a step", _FORMAT),
    Reason.ADMITS_ERROR: Advice("announced the error", _FORMAT),
    Reason.BROKEN_FORMAT: Advice("broke fences, braces or the answer box", _FORMAT),
    Reason.LEFT_SPAN: Advice("changed text that was not offered", _FORMAT),
    Reason.TOO_FAR: Advice("are too far from the original", "raise screening.max_distance, or edit by slips"),
    Reason.MARK_MISMATCH: Advice(
        "have a calculator mark that disagrees with its text", "bring solutions without such marks"
    ),
    Reason.FALSE_NEGATIVE: Advice("turned out to be true", _OTHER_EDITOR),
    Reason.UNPROVEN: Advice("could not be proven wrong", f"{_PROVABLE}, or keep them (proof.unproven)"),
    Reason.NO_REST: Advice(
        "could not be carried to a wrong answer", "set proof.mode to 'static', or raise proof.continuations.k"
    ),
    Reason.NOT_CHOSEN: Advice("are beyond the number of pairs per problem", "raise pairs.step_pairs_per_problem"),
    Reason.DRAWN_BEFORE: Advice(
        "were drawn by the job that this one extends",
        "raise sampling.temperature, or extend it by problems instead of samples",
    ),
    Reason.EDITED_BEFORE: Advice(
        "were edited by the job that this one extends", "extend it by samples or problems instead of edits"
    ),
    Reason.STOPPED: Advice(
        "were left out because the job had reached its limit", "raise its limit (stop), or extend it by problems 'rest'"
    ),
}
"""For every reason what to say of it, and the settings that change it."""

_REASONS = {str(reason): reason for reason in Reason}
_UNREADABLE = (Reason.UNPARSABLE, Reason.CUT, Reason.NOTHING_WRITTEN, Reason.THOUGHTS_ONLY, Reason.TIMEOUT)


@dataclass(frozen=True, slots=True)
class _Link:
    """``passed`` of ``total`` went on; ``held`` says why the others did not."""

    noun: str
    total: int
    passed: int
    held: Mapping[str, int]

    @property
    def share(self) -> float:
        return self.passed / self.total if self.total else 1.0

    @property
    def dominant(self) -> tuple[Reason, int] | None:
        """The reason with the largest count; of equal ones the first by name. None where nothing was held back."""
        counts = {name: count for name, count in self.held.items() if count > 0}
        if not counts:
            return None
        name = min(counts, key=lambda each: (-counts[each], each))
        return _REASONS[name], counts[name]


def advise(counts: Mapping[str, Any]) -> str | None:
    """The sentence for an ended job with this funnel (its counts); None where the yield is not low.

    A yield is low below ``LOW``, whatever else the job gave.
    """
    problems, pairs = counts["problems"]["total"], counts["pairs"]["total"]
    if not problems:
        return "No problem was worked on: the job ended before its first shard, or its set is empty."
    links = _links(counts)
    kept, _, proven, _ = links
    if pairs >= LOW * problems and kept.share >= LOW and proven.share >= LOW:
        return None
    worst = min(links, key=lambda link: link.share)  # the first of equal ones: what it held back reached no other
    if worst.dominant is None or (worst.share >= LOW and not counts["steps"]["total"]):
        return _without_reason(counts)
    reason, count = worst.dominant
    if reason is Reason.NO_CORRECT:
        return _unsolved(counts, count)
    return _sentence(f"{count:,} of {worst.total:,} {worst.noun}", reason)


def _links(counts: Mapping[str, Any]) -> tuple[_Link, _Link, _Link, _Link]:
    problems, steps, edits = counts["problems"], counts["steps"], counts["edits"]
    proven, made = sum(edits["proven"].values()), counts["pairs"]["by_type"].get("step", 0)
    rejected = {name: count for name, count in edits["rejected"].items() if name != Reason.NOT_CHOSEN}
    not_chosen = {str(Reason.NOT_CHOSEN): edits["rejected"].get(Reason.NOT_CHOSEN, 0)}
    return (
        _Link("problems", problems["total"], problems["kept"], problems["dropped"]),
        _Link("steps", steps["total"], steps["edited"], steps["skipped"]),
        _Link("edits", edits["total"], proven, rejected),
        _Link("proven edits", proven, made, not_chosen),
    )


def _sentence(subject: str, reason: Reason, remedy: str | None = None) -> str:
    told = ADVICE[reason]
    return f"{subject} {told.what}: {remedy or told.remedy}."


def _unsolved(counts: Mapping[str, Any], problems: int) -> str:
    """Why problems have no correct solution: their samples say it."""
    samples = counts["samples"]
    total, right = samples["total"], samples["verdicts"].get(Verdict.CORRECT, 0)
    wrong = samples["verdicts"].get(Verdict.INCORRECT, 0)
    unreadable = {reason: samples["unused"].get(reason, 0) for reason in _UNREADABLE}
    admitting = samples["unused"].get(Reason.ADMITS_MISTAKE, 0)
    if sum(unreadable.values()) > wrong:
        reason = max(unreadable, key=unreadable.__getitem__)
        return _sentence(f"{unreadable[reason]:,} of {total:,} samples", reason)
    if admitting > wrong:
        return _sentence(f"{admitting:,} of {total:,} samples", Reason.ADMITS_MISTAKE)
    spent = counts["tokens"].get("sample", {})
    generated = spent.get("prompt", 0) + spent.get("completion", 0)
    noun, remedy = "sample", None
    if not generated:  # brought solutions cost no tokens
        noun, remedy = "solution", "check the gold answers and the solutions that were brought, or sample from a model"
    if not right:
        return f"No {noun} was correct: {remedy or ADVICE[Reason.NO_CORRECT].remedy}."
    return _sentence(f"{problems:,} of {counts['problems']['total']:,} problems", Reason.NO_CORRECT, remedy)


def _without_reason(counts: Mapping[str, Any]) -> str:
    """No link is to blame: the job makes full pairs alone, and these need an incorrect solution."""
    kept, total = counts["problems"]["kept"], counts["problems"]["total"]
    wrong = counts["samples"]["verdicts"].get(Verdict.INCORRECT, 0)
    return (
        f"{kept:,} of {total:,} problems were kept, with {wrong:,} incorrect solutions to make full pairs of: raise"
        " sampling.samples or sampling.temperature, or make step pairs (pairs.step)."
    )
