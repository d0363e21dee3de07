"""One injection job: its stages, its funnel as levels to draw, the tokens it used, and what was frozen from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.injection_jobs.pricing import spent_of
from api.language_models import model_names
from api.pages.format import words
from api.pages.overview import pair_count
from api.pages.yields import MOST_EDITS, by_form, by_kind, by_step, tokens_per_second
from api.progress import elapsed_seconds, stages_of, tokens_of
from errata.advice import advise
from errata.funnel import UNKNOWN_EDITOR, Funnel, editor_yields
from errata.types import EvidenceKind
from models.base import db_now
from models.jobs import InjectionJob
from models.outputs import Dataset, DatasetSource
from models.results import running_progress
from models.shares import named_priority
from models.states import JobState
from models.workspaces import ProblemSet

_MAX_DATASETS = 10
_VERDICTS = (("correct", "correct"), ("incorrect", "incorrect"), ("unparsable", "unreadable"), ("timeout", "timed out"))


@dataclass(frozen=True, slots=True)
class Part:
    """One value of a breakdown; ``share`` is of the whole, from 0 to 1."""

    value: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Note:
    """A further count of a level; ``path`` lists what it counts, and "" where nothing does."""

    count: int
    told: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the funnel: ``passed`` of ``total`` went on, the others are ``losses`` (by reason) or open."""

    name: str
    total: int
    passed: int
    outcome: str
    losses: tuple[Part, ...]
    path: str  # below the job's page, where what is counted is listed
    passed_path: str  # where those that went on are
    notes: tuple[Note, ...] = ()

    @property
    def share(self) -> float:
        """Share that went on."""
        return self.passed / self.total if self.total else 0.0

    @property
    def open(self) -> int:
        """How many neither passed nor are lost yet: the job still works on them."""
        return max(0, self.total - self.passed - sum(loss.count for loss in self.losses))


@dataclass(frozen=True, slots=True)
class StageTokens:
    """Tokens of one stage (``cached`` is part of ``prompt``); ``share`` is of all tokens of the job.

    ``reused`` were generated for earlier requests and are no part of the others.
    """

    stage: str
    prompt: int
    completion: int
    cached: int
    reused: int
    share: float


@dataclass(frozen=True, slots=True)
class EditorYield:
    """Of what an editor was ``asked`` for, the share ``proven``; its pairs, and tokens for each of them."""

    editor: str
    asked: int
    proven: float
    pairs: int
    tokens_per_pair: float | None


@dataclass(frozen=True, slots=True)
class FunnelView:
    """A job's funnel as drawn, its pairs by type, error kind, editor and evidence, and its tokens."""

    levels: tuple[Level, ...]
    by_type: tuple[Part, ...]
    by_kind: tuple[Part, ...]
    by_editor: tuple[Part, ...]
    by_evidence: tuple[Part, ...]
    editors: tuple[EditorYield, ...]
    tokens: tuple[StageTokens, ...]
    proven_share: float | None
    tokens_per_pair: float | None

    @property
    def empty(self) -> bool:
        """Whether nothing was counted yet."""
        return not any(level.total for level in self.levels)


def job_context(session: Session, row: InjectionJob) -> dict[str, Any]:
    """What the page of a job shows. Every query is bounded or counts by index."""
    problem_set = session.get_one(ProblemSet, row.problem_set_id)
    frozen = (
        select(Dataset)
        .join(DatasetSource, DatasetSource.dataset_id == Dataset.id)
        .where(DatasetSource.job_id == row.id)
        .order_by(Dataset.created_at.desc())
        .limit(_MAX_DATASETS)
    )
    funnel, running = running_progress(session, row)
    elapsed = elapsed_seconds(row, session.scalars(select(db_now())).one())
    added = select(InjectionJob).where(InjectionJob.extends == row.id)
    return {
        "problem_set": problem_set,
        "advice": advise(funnel.counts) if row.state == JobState.SUCCEEDED else None,
        "language_model": model_names(session, [row.language_model_id]).get(row.language_model_id or ""),
        "stages": stages_of(session, InjectionJob, row.id),
        "skipped": sum(funnel.counts["problems"].get("skipped", {}).values()),
        "extended_by": session.scalars(added.order_by(InjectionJob.created_at).limit(_MAX_DATASETS)).all(),
        "funnel": funnel_view(funnel),
        "spent": spent_of(row, funnel),
        "priority": named_priority(row.priority),
        "tokens_per_second": tokens_per_second(tokens_of(funnel, running), elapsed),
        "yields": [
            (title, rows)
            for title, rows in (
                ("error kind", by_kind(funnel.counts)),
                ("form", by_form(funnel.counts)),
                ("step", by_step(session, row.id)),
            )
            if rows
        ],
        "most_edits": MOST_EDITS,
        "pairs": pair_count(session, row.id),
        "datasets": session.scalars(frozen).all(),
    }


def funnel_view(funnel: Funnel) -> FunnelView:
    """What is shown of a funnel."""
    counts, figures = funnel.counts, funnel.figures()
    pairs = counts["pairs"]
    return FunnelView(
        levels=tuple(_levels(counts)),
        by_type=parts_of(pairs["by_type"]),
        by_kind=parts_of(pairs["by_kind"]),
        by_editor=parts_of(pairs["by_editor"]),
        by_evidence=parts_of(pairs["by_evidence"]),
        editors=_editors(counts),
        tokens=_tokens(counts["tokens"]),
        proven_share=figures["proven_share_of_edits"],
        tokens_per_pair=figures["tokens_per_pair"],
    )


def parts_of(counts: Mapping[str, int], total: int | None = None) -> tuple[Part, ...]:
    """A breakdown, largest part first; shares are of ``total``, or of the sum of the counts."""
    whole = (sum(counts.values()) if total is None else total) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Part(name, count, count / whole) for name, count in ordered if count)


def _levels(counts: Mapping[str, Any]) -> list[Level]:
    problems, samples, steps, edits = (counts[name] for name in ("problems", "samples", "steps", "edits"))
    drawn = sum(samples["drawn"].values())
    return [
        Level(
            *("Problems", problems["total"], problems["kept"], "kept", _losses(problems, "dropped")),
            *("problems", "problems?outcome=kept"),
        ),
        Level(
            *("Solutions", samples["total"], drawn, "drawn", _losses(samples, "unused")),
            *("solutions", "solutions?role=drawn", _verdicts(samples)),
        ),
        Level("Steps", steps["total"], steps["edited"], "edited", _losses(steps, "skipped"), "steps", "edits"),
        _edits(edits),
    ]


def _editors(counts: Mapping[str, Any]) -> tuple[EditorYield, ...]:
    found = editor_yields(counts)
    return tuple(
        EditorYield(editor, told["asked"], told["proven_share"], told["pairs"], told["tokens_per_pair"])
        for editor, told in found.items()
        if editor != UNKNOWN_EDITOR and told["asked"]
    )


def _losses(level: Mapping[str, Any], reasons: str) -> tuple[Part, ...]:
    return parts_of(level[reasons], level["total"])


def _verdicts(samples: Mapping[str, Any]) -> tuple[Note, ...]:
    judged = ((samples["verdicts"].get(name, 0), told, f"solutions?verdict={name}") for name, told in _VERDICTS)
    found = [Note(*each) for each in judged if each[0]]
    return (*found, Note(samples["spared"], "more not needed")) if samples.get("spared") else tuple(found)


def _edits(edits: Mapping[str, Any]) -> Level:
    proven = edits["proven"]
    # The funnel counts an edit that was proven but not chosen as proven and as rejected: it became no pair.
    passed = max(0, sum(proven.values()) - edits["rejected"].get("not_chosen", 0))
    by = tuple(
        Note(count, f"proven wrong by {words(kind)}", f"edits?evidence={kind}")
        for kind, count in proven.items()
        if count and kind != EvidenceKind.UNPROVEN
    )
    losses = _losses(edits, "rejected")
    return Level("Edits", edits["total"], passed, "became step pairs", losses, "edits", "pairs?type=step", by)


def _tokens(tokens: Mapping[str, Mapping[str, int]]) -> tuple[StageTokens, ...]:
    used = {stage: counts.get("prompt", 0) + counts.get("completion", 0) for stage, counts in tokens.items()}
    whole = sum(used.values())
    return tuple(
        StageTokens(
            stage,
            counts.get("prompt", 0),
            counts.get("completion", 0),
            counts.get("cached", 0),
            counts.get("reused", 0),
            used[stage] / whole if whole else 0.0,
        )
        for stage, counts in tokens.items()
        if used[stage] or counts.get("reused")
    )
