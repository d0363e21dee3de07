"""Which solutions of a problem are drawn and used: how many samples come next, and which of them make pairs.

Sampling in waves goes on until the selection, made on what there is, keeps the problem and has what the job's pairs
need. So it depends on verdicts alone, never on which of two correct texts came, and the solution drawn is not biased by
it (docs/method.md, steps 2 and 4).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from errata.config import InjectionConfig, SelectionConfig
from errata.prompts import SOLVE_PREFIX
from errata.thoughts import THOUGHTS, Markers, without_thoughts
from errata.types import Domain, Reason, Verdict

# Phrases with which a text admits or repairs a mistake of its own (released scripts, extended).
_ADMITTING = re.compile(
    r"\b(?:a|the|my|an?other|this|that) (?:mistake|error)\b"
    r"|\b(?:mistaken(?:ly)?|misread|miscalculat\w+|erroneous(?:ly)?)\b"
    r"|\blet(?:'|’)?s (?:correct|reconsider|re-?check|re-?calculate|re-?evaluate|try again|fix)\b"
    r"|\blet me (?:correct|reconsider|re-?check|re-?calculate|re-?evaluate|try again|fix)\b"
    r"|\b(?:i|we) (?:made|apologi[sz]e)\b|\bapologi(?:es|[sz]e)\b|\bcorrection\s*:|\bincorrect(?:ly)?\b"
    r"|\b(?:wait|oops|sorry|hmm)\s*[,.!:…-]|\bthis is (?:not right|wrong|incorrect|not correct)\b",
    re.I,
)
_AGREEMENT = 3  # samples that must agree against gold before its label is suspected
_SHARE = 0.8  # of all samples: with K = 5, one that reached gold among four that agree does not clear the label


@dataclass(frozen=True, slots=True)
class Sample:
    """A judged solution; ``index`` is its sample index, ``finish_reason`` why the engine ended it ("length": cut)."""

    index: int
    text: str
    verdict: Verdict
    extracted: str | None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The drawn samples by index, a reason for each other sample, and why the problem was dropped, if it was."""

    correct: int | None
    incorrect: int | None
    reasons: dict[int, Reason] = field(default_factory=dict)
    problem_reason: Reason | None = None


def admits_mistake(text: str, question: str = "") -> bool:
    """Whether ``text`` admits or repairs a mistake, in words that the question itself does not use."""
    lowered = question.lower()
    # Each phrase is looked up once: a text may repeat it thousands of times.
    return any(phrase not in lowered for phrase in {match[0].lower() for match in _ADMITTING.finditer(text)})


def unreadable(sample: Sample, thoughts: Markers = THOUGHTS, opening: str = SOLVE_PREFIX) -> Reason:
    """Why no answer was read from a sample whose verdict is ``unparsable``. ``opening``: what was written for it."""
    if sample.extracted is not None:
        return Reason.UNPARSABLE
    written = sample.text.removeprefix(opening).strip()
    if not written:
        return Reason.NOTHING_WRITTEN
    if sample.finish_reason == "length":
        return Reason.CUT
    return Reason.UNPARSABLE if without_thoughts(written, thoughts).strip() else Reason.THOUGHTS_ONLY


def label_suspect(samples: Sequence[Sample]) -> bool:
    """Whether the samples agree with each other against gold: at least three, and four of five, say the same."""
    wrong = Counter(s.extracted.strip() for s in samples if s.verdict is Verdict.INCORRECT and s.extracted)
    if not wrong:
        return False
    count = wrong.most_common(1)[0][1]
    return count >= _AGREEMENT and count >= _SHARE * len(samples)


def select(
    samples: Sequence[Sample],
    config: SelectionConfig,
    question: str,
    seed: int | None = None,
    thoughts: Markers = THOUGHTS,
    opening: str = SOLVE_PREFIX,
    used: Collection[str] = (),
) -> Selection:
    """Draw one correct and one incorrect sample, neither with a text of ``used``.

    Without ``seed`` the first of each in order of drawing: for samples of one language model, whose first correct one
    is distributed as its correct ones are, however many were drawn after it (docs/method.md, step 4). With ``seed``
    uniformly over distinct texts: for brought solutions, whose order means nothing and whose copies are no evidence.
    A mistake that is admitted in a thought (``thoughts``: its markers) is none of the solution's. A sample that says no
    more than its ``opening`` is empty.
    """
    reasons: dict[int, Reason] = {}
    right = [s for s in samples if s.verdict is Verdict.CORRECT]
    if config.drop_admitting:
        reasons |= {
            s.index: Reason.ADMITS_MISTAKE
            for s in right
            if admits_mistake(without_thoughts(s.text, thoughts), question)
        }
        right = [s for s in right if s.index not in reasons]
    wrong = [s for s in samples if s.verdict is Verdict.INCORRECT]
    reasons |= {s.index: Reason.DRAWN_BEFORE for s in (*right, *wrong) if s.text in used}
    right, wrong = ([s for s in side if s.text not in used] for side in (right, wrong))
    reasons |= {s.index: unreadable(s, thoughts, opening) for s in samples if s.verdict is Verdict.UNPARSABLE}
    reasons |= {s.index: Reason.TIMEOUT for s in samples if s.verdict is Verdict.TIMEOUT}
    dropped = _problem_reason(samples, right, wrong, config)
    rng = None if seed is None else random.Random(seed)
    correct = None if dropped else _draw(right, rng)
    incorrect = None if dropped else _draw(wrong, rng)
    other = Reason.PROBLEM_DROPPED if dropped else Reason.NOT_DRAWN
    for sample in samples:
        if sample.index not in (correct, incorrect):
            reasons.setdefault(sample.index, other)
    return Selection(correct, incorrect, reasons, dropped)


def _problem_reason(
    samples: Sequence[Sample], right: Sequence[Sample], wrong: Sequence[Sample], config: SelectionConfig
) -> Reason | None:
    if not samples:
        return Reason.NO_SAMPLES
    if config.label_check and label_suspect(samples):
        return Reason.LABEL_SUSPECT
    if not right:
        return Reason.NO_CORRECT
    return Reason.NO_INCORRECT if config.require_both and not wrong else None


def _draw(samples: Sequence[Sample], rng: random.Random | None) -> int | None:
    if rng is None:
        return min((sample.index for sample in samples), default=None)
    # reversed: of equal texts the first one's index stays. Sorted: the draw does not depend on the order of a dict.
    distinct = {sample.text: sample.index for sample in reversed(samples)}
    return rng.choice(sorted(distinct.values())) if distinct else None


def samples_in_waves(config: InjectionConfig, domain: Domain) -> bool:
    """Whether samples are drawn in waves and judged between them.

    Never for code: judging a wave would run it where the language models are.
    """
    return config.sampling.adaptive and domain is not Domain.CODE


def sample_limit(config: InjectionConfig) -> int:
    """The most samples of a problem: K, or one where a greedy job would only repeat itself."""
    return 1 if config.sampling.temperature == 0 else config.sampling.samples


def first_wave(config: InjectionConfig, domain: Domain) -> int:
    """Samples of the first wave: the fewest that can suffice, or ``wave``, or all of them for a job without waves."""
    most = sample_limit(config)
    if not samples_in_waves(config, domain):
        return most
    return min(most, max(config.sampling.wave, 2 if _needs_both(config) else 1))


def next_wave(
    samples: Sequence[Sample],
    config: InjectionConfig,
    domain: Domain,
    question: str,
    used: Collection[str] = (),
) -> int:
    """How many samples to draw behind ``samples``, all judged, in order; 0: the job has what it needs, or its limit."""
    left = sample_limit(config) - len(samples)
    if left <= 0 or not samples_in_waves(config, domain):
        return max(left, 0)
    # The very function that will select decides, so stopping and selection cannot disagree.
    found = select(samples, config.selection, question, thoughts=config.thoughts.markers, used=used)
    if found.correct is not None and (found.incorrect is not None or not _needs_both(config)):
        return 0
    return min(config.sampling.wave, left)


def _needs_both(config: InjectionConfig) -> bool:
    """Whether an incorrect solution is needed too: step pairs alone are made from a correct one."""
    return config.pairs.full or config.selection.require_both
