"""The gates of a freeze (errata.gates): fed while questions and pairs stream past, told at the end.

Memory: about 250 bytes a question and 24 a pair, and a bounded sample; texts that are looked at twice lie on disk.
"""

from __future__ import annotations

import heapq
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from errata.answers import CodeExecutionDisabled
from errata.gates.canonical import canonical
from errata.gates.config import GateName, GatesConfig
from errata.gates.contamination import Benchmarks
from errata.gates.labels import Label
from errata.gates.lengths import PairLength, measure, summary
from errata.gates.near_duplicates import Clusters, NearDuplicates
from errata.gates.report import MOST_ROWS, GateReport, refusal, report
from errata.gates.signatures import digest, masked_names
from models.jobs import InjectionJob
from models.outputs import Dataset
from workers.engines.base import Cancelled
from workers.stages.base import StageContext
from workers.stages.gate_rows import CheckedRows, JobRowsToCheck, TextFile, benchmark_problems, judged

_SHOWN = 160  # characters of a question in a row of evidence
_EVERY = 1_000  # questions or pairs between two looks at whether the freeze is cancelled


class GatesRefuse(Exception):
    """A gate refuses the dataset. ``reports`` hold the evidence, ``str()`` the reason with its remedy."""

    def __init__(self, reason: str, reports: dict[str, Any]) -> None:
        super().__init__(reason)
        self.reports = reports


class DatasetGates:
    """The gates of one dataset: ``take_questions``, then ``add_pair`` for each pair, then ``reports``.

    ``folder`` is where unnamed scratch files may lie. ``seconds``: how long each gate took so far; what pairs cost
    while they stream past is that of duplicate pairs. A context manager: leaving it gives their space back.
    """

    def __init__(self, config: GatesConfig, folder: Path, cancelled: Callable[[], bool] = lambda: False) -> None:
        self._config, self._folder, self._cancelled = config, folder, cancelled
        self._problems, self._questions, self._pairs = (TextFile(folder) for _ in range(3))
        self._clusters: Clusters | None = None
        self._side: dict[int, int] = {}
        self._cluster_of: dict[int, int] = {}
        self.seconds: defaultdict[GateName, float] = defaultdict(float)
        self._exact, self._near = array("Q"), array("Q")
        self._heap: list[tuple[int, int]] = []
        self._sampled = max(config.labels.sample, config.lengths.sample)

    def __enter__(self) -> DatasetGates:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for texts in (self._problems, self._questions, self._pairs):
            texts.close()

    def take_questions(self, questions: Iterable[tuple[str, str]]) -> None:
        """Cluster the questions of the dataset, given once per problem as id and text."""
        with self.timed("near_duplicates"):
            self._cluster(questions)

    def _cluster(self, questions: Iterable[tuple[str, str]]) -> None:
        found = NearDuplicates()
        for at, (problem_id, question) in enumerate(questions):
            self._check(at)
            found.add(question)
            self._problems.add(problem_id)
            self._questions.add(question)
        clusters = self._clusters = found.clusters(self._questions.__getitem__)
        sizes = np.bincount(clusters.cluster, minlength=len(clusters.cluster))
        repeated = sizes[clusters.cluster] > 1
        apart = clusters.representative != np.arange(len(clusters.cluster))
        for at in np.flatnonzero(apart | repeated).tolist():
            key = digest(self._questions[at])
            self._side[key] = int(clusters.representative[at])
            if repeated[at]:
                self._cluster_of[key] = int(clusters.cluster[at])

    def side_of(self, question: str) -> str:
        """The question that decides on which side of the split this one falls: one for each cluster of questions."""
        at = self._side.get(digest(question))
        return question if at is None else self._questions[at]

    def add_pair(self, pair_id: str, question: str, prefix: str, chosen: str, rejected: str) -> None:
        """Take the next pair of the dataset."""
        at = len(self._pairs)
        self._check(at)
        self._pairs.add(pair_id)
        exact = digest("\x1f".join((question, prefix, chosen, rejected)))
        self._exact.append(exact)
        self._near.append(self._near_key(question, chosen, rejected))
        # The smallest digests are an even sample that does not depend on the order; equal ones decide by place.
        entry = (-exact, -at)
        if len(self._heap) < self._sampled:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def _near_key(self, question: str, chosen: str, rejected: str) -> int:
        """Equal for pairs of one cluster of questions whose sides say the same."""
        key = _question_digest(question)
        cluster = self._cluster_of.get(key)
        if cluster is None:
            return digest(f"{key}\x1f{_squeezed(chosen)}\x1f{_squeezed(rejected)}")
        return digest(f"c{cluster}\x1f{_nameless(chosen)}\x1f{_nameless(rejected)}")

    def reports(
        self,
        context: StageContext,
        session: Session,
        jobs: Sequence[InjectionJob],
        audit: Mapping[str, Any],
        rows: CheckedRows | None = None,
    ) -> dict[str, Any]:
        """The report of every gate that is not off, by name, as JSON values. Raises GatesRefuse, Cancelled.

        ``audit``: the reports of the shortcut audit by type of pair (errata.audit). ``rows``: where the pairs are
        looked up again; by default they are those of the jobs.
        """
        rows = rows or JobRowsToCheck(session, jobs)
        workspace_id = session.get_one(Dataset, context.lease.owner_id).workspace_id
        makers: dict[GateName, Callable[[], GateReport]] = {
            "near_duplicates": self._near_duplicates,
            "duplicate_pairs": self._duplicate_pairs,
            "contamination": lambda: self._contamination(session, workspace_id),
            "shortcuts": lambda: self._shortcuts(audit),
            "labels": lambda: self._labels(context, rows),
            "lengths": lambda: self._lengths(rows),
        }
        found: list[GateReport] = []
        for name, make in makers.items():
            if getattr(self._config, name).action != "off":
                with self.timed(name):
                    found.append(make())
        told: dict[str, Any] = {each.gate: each.as_dict() for each in found}
        reason = refusal(found)
        if reason is not None:
            raise GatesRefuse(reason, told)
        return told

    @contextmanager
    def timed(self, gate: GateName) -> Iterator[None]:
        """Add what is done meanwhile to the ``seconds`` of a gate."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[gate] += time.perf_counter() - began

    def _check(self, at: int) -> None:
        if at % _EVERY == 0 and self._cancelled():
            raise Cancelled

    def _settled(self) -> Clusters:
        if self._clusters is None:
            self.take_questions(())
        assert self._clusters is not None
        return self._clusters

    def _near_duplicates(self) -> GateReport:
        clusters, total = self._settled(), len(self._questions)
        counts = clusters.counts()
        repeated = total - clusters.distinct
        kinds = ", ".join(
            f"{count:,} by {kind}" for kind, count in counts.items() if count and kind != "number_variant"
        )
        told = f"{repeated:,} of {total:,} questions repeat another one{f' ({kinds})' if kinds else ''}."
        if counts["number_variant"]:
            told += f" {counts['number_variant']:,} more differ from another in one number."
        variants = clusters.links(MOST_ROWS, variants=True)
        details = {
            "questions": total,
            "distinct": clusters.distinct,
            "by_kind": counts,
            "number_variants": [self._link(link.question, link.of, link.kind) for link in variants],
            "templates": clusters.templates[:MOST_ROWS],
        }
        rows = [self._link(link.question, link.of, link.kind) for link in clusters.links(MOST_ROWS)]
        figure = repeated / total if total else None
        gate = self._config.near_duplicates
        return report("near_duplicates", gate, figure, told, found=repeated, rows=rows, details=details)

    def _link(self, at: int, of: int, kind: str) -> dict[str, Any]:
        return {
            "problem_id": self._problems[at],
            "repeats": self._problems[of],
            "kind": kind,
            "question": _short(self._questions[at]),
            "repeated_question": _short(self._questions[of]),
        }

    def _duplicate_pairs(self) -> GateReport:
        exact, near = (np.frombuffer(column, np.uint64) for column in (self._exact, self._near))
        total = len(near)
        _, first, inverse = np.unique(near, return_index=True, return_inverse=True)
        surplus = np.flatnonzero(first[inverse] != np.arange(total))
        same = total - len(np.unique(exact))
        rows = []
        for at in surplus[:MOST_ROWS].tolist():
            of = int(first[inverse[at]])
            kind = "exact" if exact[at] == exact[of] else "near"
            rows.append({"pair_id": self._pairs[at], "repeats": self._pairs[of], "kind": kind})
        told = (
            f"{len(surplus):,} of {total:,} pairs repeat another one ({same:,} exactly): {len(first):,} are distinct."
        )
        details = {"pairs": total, "distinct": len(first), "exact": same}
        figure = len(surplus) / total if total else None
        gate = self._config.duplicate_pairs
        return report("duplicate_pairs", gate, figure, told, found=len(surplus), rows=rows, details=details)

    def _contamination(self, session: Session, workspace_id: str) -> GateReport:
        gate, total = self._config.contamination, len(self._questions)
        benchmarks, texts, places = Benchmarks(gate.ngram, gate.share), TextFile(self._folder), []
        for at, (place, question) in enumerate(benchmark_problems(session, workspace_id)):
            self._check(at)
            benchmarks.add(question)
            texts.add(question)
            places.append(place)
        benchmarks.seal()
        sets = {place.problem_set_id: place.name for place in places}
        if not sets:
            told = "No problem set is marked as a benchmark, so nothing was compared."
            return report("contamination", gate, None, told, details={"questions": total, "benchmarks": []})
        found: list[dict[str, Any]] = []
        counts = {True: 0, False: 0}
        for at in range(total):
            self._check(at)
            hit = benchmarks.hit(self._questions[at], texts.__getitem__)
            if hit is None:
                continue
            counts[hit.is_contaminated] += 1
            if hit.is_contaminated and len(found) < MOST_ROWS:
                place = places[hit.problem]
                where = {"benchmark": place.name, "benchmark_problem_id": place.problem_id}
                what = {"kind": hit.kind, "share": round(hit.share, 4), "question": _short(self._questions[at])}
                found.append({"problem_id": self._problems[at], **where, **what})
        texts.close()
        told_all = f"{counts[True]:,} of {total:,} questions stand in a benchmark ({', '.join(sets.values())})."
        if counts[False]:
            told_all += f" {counts[False]:,} more differ from a benchmark's problem in one number."
        named = [{"problem_set": id_, "name": name} for id_, name in sets.items()]
        details = {"questions": total, "benchmarks": named, "number_variants": counts[False]}
        figure = counts[True] / total if total else None
        return report("contamination", gate, figure, told_all, found=counts[True], rows=found, details=details)

    def _shortcuts(self, audit: Mapping[str, Any]) -> GateReport:
        known = {type_: found for type_, found in audit.items() if found["auc"] is not None}
        rows = [
            {"type": type_, "toward": side, "feature": name, "weight": weight}
            for type_, found in known.items()
            for side in ("rejected", "chosen")
            for name, weight in found[f"toward_{side}"]
        ]
        worst = max(known.values(), key=lambda found: found["auc"], default=None)
        told = worst["sentence"] if worst else "Too few problems for a shortcut audit."
        details = {"auc": {type_: round(found["auc"], 6) for type_, found in known.items()}}
        figure = worst["auc"] if worst else None
        return report("shortcuts", self._config.shortcuts, figure, told, found=len(rows), rows=rows, details=details)

    def _sample(self, most: int) -> list[str]:
        """The ids of at most so many pairs, in the order of the dataset."""
        lowest = sorted(self._heap, reverse=True)[:most]
        return [self._pairs[at] for at in sorted(-entry[1] for entry in lowest)]

    def _labels(self, context: StageContext, rows: CheckedRows) -> GateReport:
        gate, counts = self._config.labels, dict.fromkeys(Label, 0)
        found: list[dict[str, Any]] = []
        unjudged = Counter[str]()
        try:
            for pairs in rows.pairs(self._sample(gate.sample)):
                unjudged.update(pair.unjudged for pair in pairs if pair.unjudged)
                judgeable = [pair for pair in pairs if not pair.unjudged]
                for pair, (label, why) in zip(judgeable, judged(context, judgeable), strict=True):
                    counts[label] += 1
                    if label is Label.WRONG and len(found) < MOST_ROWS:
                        found.append({"pair_id": pair.pair_id, "type": pair.check.type, "why": why})
        except CodeExecutionDisabled as error:
            return report("labels", gate, None, f"Nothing was judged: {error}.")
        checked, total = sum(counts.values()), len(self._pairs)
        wrong = counts[Label.WRONG]
        told = f"The label of {wrong:,} of {checked:,} checked pairs does not hold ({total:,} in all)."
        if counts[Label.OPEN]:
            told += f" Nothing proves or refutes {counts[Label.OPEN]:,}."
        told += "".join(f" Not checked: {count:,}, because {why}." for why, count in unjudged.most_common())
        details = {"pairs": total, "checked": checked, **{str(label): count for label, count in counts.items()}}
        figure = wrong / checked if checked else None
        return report("labels", gate, figure, told, found=wrong, rows=found, details=details)

    def _lengths(self, rows: CheckedRows) -> GateReport:
        gate, counters = self._config.lengths, rows.counters()
        measured: dict[str, list[PairLength]] = {unit: [] for unit, _ in counters}
        for pairs in rows.pairs(self._sample(gate.sample)):
            if self._cancelled():
                raise Cancelled
            texts = [(p.pair_id, p.prompt, p.check.chosen, p.check.rejected) for p in pairs]
            for unit, count in counters:
                measured[unit] += measure(texts, count)
        # Of several tokenizers the one by which most pairs are too long decides.
        unit, lengths = max(measured.items(), key=lambda item: sum(each.whole > gate.max_length for each in item[1]))
        if not lengths:
            return report("lengths", gate, None, "There are no pairs to measure.")
        told = {"unit": unit, "max_length": gate.max_length, **summary(lengths, gate.max_length)}
        if len(measured) > 1:
            told["tokenizers"] = {name: summary(each, gate.max_length) for name, each in measured.items()}
        over = [each for each in lengths if each.whole > gate.max_length]
        longest = sorted(islice(sorted(over, key=lambda each: -each.whole), MOST_ROWS), key=lambda each: -each.whole)
        listed = [{"pair_id": each.pair_id, "length": each.whole, "error_at": each.error} for each in longest]
        # Characters say nothing about a limit of tokens: the figure is told, and compared with nothing.
        figure = told["over_max_length"] if unit != "characters" else None
        said = f"{len(over):,} of {len(lengths):,} measured pairs are longer than {gate.max_length:,} {unit}"
        cut = f"; of {told['error_cut_off']:.1%} the error itself is cut off."
        said += cut if unit != "characters" else f": {rows.no_tokenizer}."
        return report("lengths", gate, figure, said, found=len(over), rows=listed, details=told)


@lru_cache(maxsize=256)  # the pairs of a problem come one after the other
def _question_digest(question: str) -> int:
    return digest(question)


def _squeezed(text: str) -> str:
    return " ".join(text.casefold().split())


def _nameless(text: str) -> str:
    return " ".join(mark for sentence in canonical(text).sentences for mark in masked_names(sentence))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN else f"{flat[: _SHOWN - 1]}…"
