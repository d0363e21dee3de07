"""What people decide about the data: reviews of pairs, tags on rows, and retractions of problems and jobs.

A pair's standing review is its column ``review`` as well, written in the transaction that adds the row here: lists and
freezes filter by it without a join.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Text,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Timestamped, new_id
from models.jobs import InjectionJob, PairRow
from models.outputs import DatasetSource
from models.session import insert_ignore
from models.states import state_check
from models.workspaces import Owned, ProblemRow

MOST_TAGS = 50  # per row


class Review(Owned, Timestamped, Base):
    """One decision about one pair. The newest of a pair stands; ``withdrawn`` ends the one before."""

    __tablename__ = "reviews"
    __table_args__ = (
        state_check("verdict", ("accepted", "rejected", "withdrawn")),
        Index("ix_reviews_pair_id_position", "pair_id", "position", unique=True),
    )
    pair_id: Mapped[str] = mapped_column(ForeignKey("pairs.id"))
    position: Mapped[int]  # from 1 within the pair: two clocks may tell the same time
    verdict: Mapped[str]
    reason: Mapped[str | None] = mapped_column(Text)
    reviewer: Mapped[str | None]
    key_id: Mapped[str | None]  # the API key it came with
    source: Mapped[str]  # api or argilla


class Tag(Base):
    """One tag of one row, as one workspace sees it: an operator's language model may have other tags elsewhere."""

    __tablename__ = "tags"
    __table_args__ = (Index("ix_tags_workspace_id_tag", "workspace_id", "tag", "subject_id"),)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id"), primary_key=True)
    subject_id: Mapped[str] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)


class Retraction(Owned, Timestamped, Base):
    """A problem or an injection job whose pairs no later freeze takes. Frozen datasets keep theirs."""

    __tablename__ = "retractions"
    __table_args__ = (
        CheckConstraint("(problem_id IS NULL) <> (job_id IS NULL)", name="one_subject"),
        Index("ix_retractions_problem_id", "problem_id", unique=True),
        Index("ix_retractions_job_id", "job_id", unique=True),
    )
    problem_id: Mapped[str | None] = mapped_column(ForeignKey("problems.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("injection_jobs.id"))
    reason: Mapped[str] = mapped_column(Text)
    reviewer: Mapped[str | None]
    key_id: Mapped[str | None]


ReviewFilter = Literal["accepted", "rejected", "not_rejected", "none"]


def review_condition(wanted: ReviewFilter) -> ColumnElement[bool]:
    """The pairs whose standing review is this; ``not_rejected`` are the accepted and those without a review."""
    if wanted == "not_rejected":
        return or_(PairRow.review.is_(None), PairRow.review != "rejected")
    return PairRow.review.is_(None) if wanted == "none" else PairRow.review == wanted


def needs_index_first(wanted: ReviewFilter | str | None) -> bool:
    """Whether pairs under this filter are chosen in the index before they are read (``paginate(index_first=True)``).

    ``not_rejected`` is no range of an index. Where most pairs are rejected, all of those would be read for a page.
    """
    return wanted == "not_rejected"


def add_reviews(session: Session, pairs: Sequence[PairRow], decisions: Sequence[dict[str, Any]]) -> list[Review]:
    """Add one decision per pair (``verdict``, ``reason``, ``reviewer``, ``key_id``, ``source``) and let it stand.

    A decision that repeats the pair's standing one, word for word, adds nothing: that one is answered. A pair may come
    several times; its last decision then stands. The pairs are locked to the end of the transaction.
    """
    ids = sorted({pair.id for pair in pairs})
    # Locked in one order, so that two bulk reviews of the same pairs wait for each other instead of for ever.
    locked = select(PairRow).where(PairRow.id.in_(ids)).order_by(PairRow.id).with_for_update()
    rows = {row.id: row for row in session.scalars(locked.execution_options(populate_existing=True))}
    standing = standing_reviews(session, ids)
    made = []
    for pair, decision in zip(pairs, decisions, strict=True):
        last = standing.get(pair.id)
        if last is None or any(getattr(last, key) != decision[key] for key in ("verdict", "reason", "reviewer")):
            values = {"workspace_id": pair.workspace_id, "position": (last.position if last else 0) + 1, **decision}
            last = Review(id=new_id("review"), pair_id=pair.id, **values)
            session.add(last)
            rows[pair.id].review = None if last.verdict == "withdrawn" else last.verdict
        standing[pair.id] = last
        made.append(last)
    session.flush()
    return made


def standing_reviews(session: Session, pair_ids: Sequence[str]) -> dict[str, Review]:
    """The newest review of each of these pairs that has one."""
    newest = (
        select(Review.pair_id, func.max(Review.position).label("position"))
        .where(Review.pair_id.in_(pair_ids))
        .group_by(Review.pair_id)
        .subquery()
    )
    joined = (Review.pair_id == newest.c.pair_id) & (Review.position == newest.c.position)
    return {row.pair_id: row for row in session.scalars(select(Review).join(newest, joined))}


def tags_of(session: Session, workspace_id: str, subject_ids: Iterable[str]) -> dict[str, list[str]]:
    """The tags of these rows, sorted; rows without tags are missing."""
    query = select(Tag.subject_id, Tag.tag).where(Tag.workspace_id == workspace_id, Tag.subject_id.in_(subject_ids))
    found: dict[str, list[str]] = {}
    for subject_id, tag in session.execute(query.order_by(Tag.subject_id, Tag.tag)):
        found.setdefault(subject_id, []).append(tag)
    return found


def set_tags(session: Session, workspace_id: str, subject_id: str, tags: Iterable[str]) -> None:
    """Give a row exactly these tags."""
    own = (Tag.workspace_id == workspace_id) & (Tag.subject_id == subject_id)
    session.execute(delete(Tag).where(own))
    rows = [{"workspace_id": workspace_id, "subject_id": subject_id, "tag": tag} for tag in sorted(set(tags))]
    insert_ignore(session, Tag, rows)


def tagged(table: Any, workspace_id: str, tag: str) -> ColumnElement[bool]:
    """The condition that a row of ``table`` has this tag."""
    return exists().where(Tag.workspace_id == workspace_id, Tag.subject_id == table.id, Tag.tag == tag)


def not_retracted(table: Any = PairRow) -> ColumnElement[bool]:
    """The condition that neither the problem nor the job of a row (a pair, or a solution) was retracted."""
    # Two lists without a reference to the pair: a database reads each once, not once per pair.
    problems = select(Retraction.problem_id).where(Retraction.problem_id.is_not(None))
    jobs = select(Retraction.job_id).where(Retraction.job_id.is_not(None))
    return and_(table.problem_id.not_in(problems), table.job_id.not_in(jobs))


def retracted_ids(session: Session, workspace_id: str) -> tuple[set[str], set[str]]:
    """Ids of the workspace's retracted problems, and of its retracted jobs."""
    query = select(Retraction.problem_id, Retraction.job_id).where(Retraction.workspace_id == workspace_id)
    rows = session.execute(query).all()
    return {row.problem_id for row in rows if row.problem_id}, {row.job_id for row in rows if row.job_id}


def retractions_in(session: Session, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What was retracted among these jobs and their problems, with how many of the jobs' pairs that concerns.

    Each has ``retraction``, ``job`` or ``problem`` (with ``external_id``), ``reason``, ``pairs`` and ``retracted_at``.
    """
    pairs = func.count(PairRow.id)
    of_jobs = select(Retraction, pairs, literal(None)).join(PairRow, PairRow.job_id == Retraction.job_id)
    of_problems = (
        select(Retraction, pairs, func.max(ProblemRow.external_id))
        .join(ProblemRow, ProblemRow.id == Retraction.problem_id)
        .join(PairRow, PairRow.problem_id == Retraction.problem_id)
    )
    found = []
    for query in (of_jobs, of_problems):
        rows = session.execute(query.where(PairRow.job_id.in_(job_ids)).group_by(Retraction.id))
        for retraction, count, external_id in rows:
            subject = {"job": retraction.job_id} if retraction.job_id else {"problem": retraction.problem_id}
            more = {"external_id": external_id} if external_id is not None else {}
            told = {"reason": retraction.reason, "retracted_at": retraction.created_at.isoformat(), "pairs": count}
            found.append({"retraction": retraction.id, **subject, **more, **told})
    return sorted(found, key=lambda entry: (entry["retracted_at"], str(entry.get("job") or entry.get("problem"))))


def datasets_from(session: Session, job_ids: Sequence[str]) -> list[str]:
    """Ids of the datasets that were frozen from any of these jobs."""
    query = select(DatasetSource.dataset_id).where(DatasetSource.job_id.in_(job_ids)).distinct()
    return list(session.scalars(query.order_by(DatasetSource.dataset_id)))


def jobs_with_problem(session: Session, problem_id: str) -> list[str]:
    """Ids of the injection jobs that made pairs of a problem."""
    query = select(PairRow.job_id).where(PairRow.problem_id == problem_id).distinct()
    return sorted(session.scalars(query.join(InjectionJob, InjectionJob.id == PairRow.job_id)))
