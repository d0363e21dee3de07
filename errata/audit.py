"""The shortcut audit: can chosen and rejected be told apart *without* the question? (docs/method.md, ours.)

A pair should differ in its error and in nothing else. A small classifier sees single sides, out of context: lengths,
``\\boxed``, telling words, n-grams. If it separates rejected from chosen on problems it was not fitted on, so can a
language model, and it would learn that instead of the error. Step and full pairs are audited apart: full pairs are two
different solutions, and do differ. So are mined errors, whose sides a model wrote freely, and every error kind, in
each form: pooled, a shortcut in one kind is lost among the others.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from errata.seeds import derive_seed
from errata.statistics import mean_interval

AuditedType = Literal["step", "full", "mined"]
FOLDS = 5
MIN_PROBLEMS = 20
MAX_PAIRS = 4_000
KIND_PAIRS = 300  # of one kind and form: fewer leave an interval too wide to say anything
KIND_MAX_PAIRS = 1_500
THRESHOLD = 0.65
_TOP = 12
_CHARACTERS = 2_000  # of a long side whose n-grams are looked at: half from its start, half from its end
_TOKEN = r"\d+(?:\.\d+)?|\\?\w+|[^\w\s]"
_TELLING = re.compile(
    r"\b(?:wrong|mistake\w*|error\w*|incorrect\w*|actually|instead|should|however|wait|oops|sorry|not)\b", re.I
)
# How a text looks, not what it says; the names stand in reports.
_STYLE: dict[str, Callable[[str], int]] = {
    "characters": len,
    "tokens": lambda text: len(re.findall(_TOKEN, text)),
    "lines": lambda text: text.count("\n"),
    "digits": lambda text: sum(char.isdigit() for char in text),
    "boxed": lambda text: text.count("\\boxed"),
    "telling words": lambda text: len(_TELLING.findall(text)),
    "equality signs": lambda text: text.count("="),
    "marks": lambda text: text.count("<<"),
    "double spaces": lambda text: len(re.findall(r"(?<=\S)  +(?=\S)", text)),
}


@dataclass(frozen=True, slots=True, order=True)
class AuditPair:
    """Both sides of a pair; ``problem`` keeps pairs of one problem on one side of every fold."""

    problem: str
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the classifier reached on problems it had not seen. 0.5 is chance.

    ``auc``: over single sides, the mean over folds with its 95 % t interval. ``pairwise``: how often it scores the
    rejected side of a pair above the chosen one (ties count half). ``toward_rejected`` and ``toward_chosen``: the
    features that weigh most, with their weights. ``shortcut``: ``auc`` is above ``threshold``; None, as are the
    figures, where there are too few problems to say.
    """

    type: AuditedType
    pairs: int
    problems: int
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    pairwise: float | None = None
    threshold: float = THRESHOLD
    shortcut: bool | None = None
    toward_rejected: list[tuple[str, float]] = field(default_factory=list)
    toward_chosen: list[tuple[str, float]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The finding, for people."""
        if self.auc is None:
            return f"Too few problems ({self.problems}) with {self.type} pairs for a shortcut audit."
        told = f"A classifier that never sees the question tells the sides of {self.type} pairs apart with AUC"
        said = (
            f"{told} {self.auc:.2f} ({self.low:.2f} to {self.high:.2f}); it ranks {self.pairwise:.0%} of pairs right."
        )
        if not self.shortcut:
            return f"{said} No shortcut above the threshold of {self.threshold:.2f}."
        clues = ", ".join(repr(name) for name, _ in self.toward_rejected[:3])
        return f"{said} Above {self.threshold:.2f} a shortcut may be learnt instead of the error; look at {clues}."

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, for a manifest; ``warning`` is the sentence where there is a shortcut, else None."""
        return {**asdict(self), "sentence": self.sentence, "warning": self.sentence if self.shortcut else None}


def audit_rank(problem: str, chosen: str, rejected: str) -> int:
    """The hash that decides whether a pair is sampled: the smallest ones are."""
    return derive_seed("audit", problem, chosen, rejected)


class AuditSample:
    """An even sample of at most ``MAX_PAIRS`` pairs, kept while a dataset of any size streams past.

    Which pairs it keeps depends on what they say, not on their order: those with the smallest hashes.
    """

    def __init__(self, limit: int = MAX_PAIRS) -> None:
        self._limit = limit
        self._heap: list[tuple[int, AuditPair]] = []
        self.offered = 0

    def add(self, pair: AuditPair) -> None:
        """Offer one pair."""
        self.offer(audit_rank(pair.problem, pair.chosen, pair.rejected), pair.problem, pair.chosen, pair.rejected)

    def offer(self, rank: int, problem: str, chosen: str, rejected: str) -> None:
        """Offer the pair of this ``audit_rank``."""
        self.offered += 1
        # heapq pops the smallest entry: negative hashes let the largest hash leave when the heap is full.
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, (-rank, AuditPair(problem, chosen, rejected)))
        elif -rank >= self._heap[0][0]:  # of a large dataset nearly none: an object of each would cost more than this
            heapq.heappushpop(self._heap, (-rank, AuditPair(problem, chosen, rejected)))

    def pairs(self) -> list[AuditPair]:
        """The pairs kept, in an order of their own."""
        return [pair for _, pair in sorted(self._heap)]


def audit(pairs: Sequence[AuditPair], type: AuditedType, *, seed: int = 0) -> AuditReport:
    """Audit the pairs of one type. Deterministic; time and memory grow with the pairs given (see AuditSample)."""
    looked_at = list(pairs)
    problems = len({pair.problem for pair in looked_at})
    if problems < MIN_PROBLEMS:
        return AuditReport(type, len(looked_at), problems)
    features = _Features([side for pair in looked_at for side in (pair.chosen, pair.rejected)])
    labels = np.array([0, 1] * len(looked_at))
    # Numbers in the order of the texts: the folds are the same, and texts would be compared anew for each of them.
    _, groups = np.unique([pair.problem for pair in looked_at for _ in range(2)], return_inverse=True)
    aucs: list[float] = []
    scores = np.zeros(len(labels))
    for fitted, held in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels, groups):
        model = _fitted(features.matrix[fitted], labels[fitted], seed)
        scores[held] = model.decision_function(features.matrix[held])
        aucs.append(float(roc_auc_score(labels[held], scores[held])))
    # Sides alternate, chosen then rejected; both sides of a pair stand in one fold, so one model scored both.
    gaps = scores[1::2] - scores[0::2]
    pairwise = float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
    interval = mean_interval(aucs)
    rejected, chosen = _top(_fitted(features.matrix, labels, seed), features.names)
    bounds = (interval.estimate, interval.low, interval.high)
    shortcut = interval.estimate > THRESHOLD
    return AuditReport(type, len(looked_at), problems, *bounds, pairwise, THRESHOLD, shortcut, rejected, chosen)


def audit_kinds(samples: Mapping[tuple[str, str], AuditSample], *, seed: int = 0) -> list[dict[str, Any]]:
    """What the classifier reached on the step pairs of each (kind, form) with at least ``KIND_PAIRS``, as JSON values.

    The form of mined errors is ``mined``.

    In order of kind and form. A group with fewer pairs is left out: its figure would be a guess.
    """
    groups = ((kind, form, sample, _figures(sample, seed)) for (kind, form), sample in sorted(samples.items()))
    return [
        {"kind": kind, "form": form, "pairs": sample.offered, **figures}
        for kind, form, sample, figures in groups
        if figures
    ]


def audit_rests(sample: AuditSample, *, seed: int = 0) -> dict[str, Any]:
    """The same figures for pairs whose sides go on to an answer; empty for fewer than ``KIND_PAIRS``."""
    return _figures(sample, seed)


def _figures(sample: AuditSample, seed: int) -> dict[str, Any]:
    if sample.offered < KIND_PAIRS:
        return {}
    report = audit(sample.pairs(), "step", seed=seed)
    if report.auc is None:
        return {}
    figures = {name: getattr(report, name) for name in ("auc", "low", "high", "pairwise", "shortcut")}
    return {**figures, "clues": [name for name, _ in report.toward_rejected[:3]]}


def style(text: str) -> list[float]:
    """The figures named in ``_STYLE``, in its order."""
    return [float(figure(text)) for figure in _STYLE.values()]


class _Features:
    """Style figures, word 1- to 3-grams and character 2- to 3-grams of every side, computed once.

    Names and scales are taken from all sides alike, without labels, so nothing of a held-out problem's labels leaks.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        figures = np.array([style(text) for text in texts])
        figures = (figures - figures.mean(axis=0)) / (figures.std(axis=0) + 1e-9)
        self.names = list(_STYLE)
        shortened = [_ends(text) for text in texts]
        columns = [csr_matrix(figures)]
        common = {"min_df": 4, "binary": True, "lowercase": False}
        words = CountVectorizer(token_pattern=_TOKEN, ngram_range=(1, 3), max_features=20_000, **common)
        chars = CountVectorizer(analyzer="char", ngram_range=(2, 3), max_features=5_000, **common)
        for vectorizer, shown in ((words, str), (chars, repr)):
            try:
                columns.append(vectorizer.fit_transform(shortened))
            except ValueError:  # nothing is frequent enough
                continue
            self.names += [shown(name) for name in vectorizer.get_feature_names_out()]
        self.matrix = hstack(columns).tocsr()
        self.matrix.sort_indices()  # once: every fit would sort the rows that it gets


def _ends(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS // 2]}\n{text[-_CHARACTERS // 2 :]}"


def _fitted(features: Any, labels: Any, seed: int) -> LogisticRegression:
    """The classifier; label 1 is the rejected side."""
    return LogisticRegression(C=0.1, solver="liblinear", max_iter=300, random_state=seed).fit(features, labels)


def _top(model: LogisticRegression, names: Sequence[str]) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """The features that weigh most toward rejected, and toward chosen."""
    named = [(name, round(float(w), 4)) for name, w in zip(names, model.coef_[0], strict=True)]
    ranked = sorted(named, key=lambda item: (-item[1], item[0]))
    return [item for item in ranked[:_TOP] if item[1] > 0], [item for item in ranked[: -_TOP - 1 : -1] if item[1] < 0]
