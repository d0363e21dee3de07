"""What a stage leaves beside its rows: its part of the funnel, its seconds, and events about the shard and its engine.

All of it is written in the fenced transaction of the rows, so that counts and rows agree. Funnel and seconds stand in
the shard's ``ledger``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session, SessionTransaction

from errata.funnel import UNKNOWN_EDITOR, Funnel
from errata.profile import ErrorProfile
from errata.types import EditorName, EvidenceKind, Form, Reason
from models.base import db_now, storable
from models.events import record_owner_event, record_shard_event
from models.jobs import EditRow, InjectionJob, Shard
from models.leases import Lease
from models.outputs import Event
from models.session import update_by_key
from models.states import Stage
from models.summaries import count_in_summary
from models.telemetry.metrics import hold_funnel
from models.usage import count_job_tokens
from workers.engines.base import Completion, Journal

Rows = Sequence[dict[str, Any]]
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")
_AWAY_AGAIN_SECONDS = 600
_HELD = "errata.counts"
_TOLD_KEPT = 256  # jobs
_telling = threading.Lock()
_told: dict[tuple[str, str], dict[str, Any]] = {}  # engines of jobs, by database and job, whose event was found


def add_counts(session: Session, lease: Lease, part: Funnel) -> None:
    """Add counts to those of this transaction. Call inside ``Finish.write`` only: there it happens once.

    They are held until ``write_ledger``, so that shard and summary are written once however many parts there are.
    """
    held = session.info.setdefault(_HELD, {})
    before = held.get(lease.shard_id)
    held[lease.shard_id] = part if before is None else Funnel.total([before.counts, part.counts])
    hold_funnel(session, part.counts)


def counts_of(session: Session, lease: Lease) -> Funnel:
    """The shard's part of the funnel with what this transaction adds to it."""
    stored = session.get_one(Shard, lease.shard_id).ledger.get("funnel") or {}
    held = session.info.get(_HELD, {}).get(lease.shard_id)
    return Funnel.total([stored] if held is None else [stored, held.counts])


def count_reused(session: Session, lease: Lease, tokens: int) -> None:
    """Tokens of a stage's answers that were kept from earlier requests, beside those it generated: they cost nothing.

    Of an injection job they stand in its funnel, of an evaluation in its shards' ledgers.
    """
    if not tokens:
        return
    if lease.table is InjectionJob:
        add_counts(session, lease, Funnel().add("tokens", str(lease.stage), "reused", count=tokens))
        return
    shard = session.get_one(Shard, lease.shard_id)
    shard.ledger = {**shard.ledger, "reused": tokens}


def write_ledger(session: Session, lease: Lease, seconds: Mapping[str, float] | None = None) -> None:
    """Write the counts that were added, and how long the stage took: ``total``, and ``engine`` of it.

    Of the attempt that counted, by its worker's clock. Last in the transaction that ends a stage: the summary's row,
    which all shards of the job write, is then locked for as short as can be.
    """
    shard = session.get_one(Shard, lease.shard_id)
    part: Funnel | None = session.info.get(_HELD, {}).pop(lease.shard_id, None)
    # Assigned anew: SQLAlchemy does not see a change inside a JSON value.
    if part is not None:
        total = Funnel.total([shard.ledger.get("funnel") or {}, part.counts])
        shard.ledger = {**shard.ledger, "funnel": total.counts}
    if seconds is not None:
        told = {**shard.ledger.get("seconds", {}), str(lease.stage): dict(seconds)}
        shard.ledger = {**shard.ledger, "seconds": told}
    session.flush()  # the shard's row is locked before the summary's, everywhere
    if part is not None:
        count_in_summary(session, lease.owner_id, part.counts)
        spent = part.counts["tokens"].values()
        count_job_tokens(session, lease.owner_id, sum(each.get("completion", 0) for each in spent))


@event.listens_for(Session, "before_commit")
def _nothing_left(session: Session) -> None:
    if session.info.get(_HELD):
        raise RuntimeError("counts were added to a transaction and not written: call write_ledger before it ends")


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, _ended: SessionTransaction) -> None:
    session.info.pop(_HELD, None)


def count_samples(problems: int, rows: Rows, spared: int, lost: Rows = ()) -> Funnel:
    """Problems taken up, samples made, tokens spent on them; ``spared`` samples were not needed (adaptive sampling).

    ``lost``: samples of problems that were set aside; only their tokens count.
    """
    part = Funnel().add("problems", "total", count=problems).add("samples", "total", count=len(rows))
    if spared:
        part.add("samples", "spared", count=spared)
    part.add_tokens("sample", *_tokens([*rows, *lost]))
    return part


def count_grades(judged: Rows, outcomes: Rows) -> Funnel:
    """Verdicts, drawn and unused samples, agreement with brought labels, kept and dropped problems."""
    part = Funnel()
    for row in judged:
        part.add("samples", "verdicts", row["verdict"])
        part.add("samples", "drawn", row["role"]) if row["role"] else part.add("samples", "unused", row["reason"])
        if row["label"] is not None:
            part.add("samples", "labels", "agree" if row["label"] == (row["verdict"] == "correct") else "disagree")
    for outcome in outcomes:
        if outcome["reason"] is None:
            part.add("problems", "kept")
        else:
            part.add("problems", "dropped", outcome["reason"])
    return part


@dataclass
class Tally:
    """What one editor was asked for one edit, of which kind: attempts and tokens."""

    editor: EditorName
    kind: str
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


def count_edits(rows: Rows, skipped: Sequence[str], tallies: Sequence[Sequence[Tally]]) -> Funnel:
    """Steps edited and skipped, edits rejected by screening, tokens spent per kind and per editor.

    ``tallies``: for each row the editors that were asked for it, in order; the last one's edit is the row's.
    """
    part = Funnel().add("steps", "total", count=len(rows) + len(skipped)).add("steps", "edited", count=len(rows))
    for reason in skipped:
        part.add("steps", "skipped", reason)
    part.add("edits", "total", count=len(rows))
    for row in rows:
        part.add("edits", "attempts", count=len(row["attempts"]))
        _count_edit(part, row, "total")
        _count_edit(part, row, "tokens", row["prompt_tokens"] + row["completion_tokens"])
        if row["reason"] is not None:
            part.add("edits", "rejected", row["reason"])
            _count_edit(part, row, row["reason"])
        else:
            part.add("edits", "by_editor", row["editor"], "kept")
    for asked in tallies:
        _count_asked(part, asked)
    part.add_tokens("edit", *_tokens(rows))
    return part


def _count_asked(part: Funnel, asked: Sequence[Tally]) -> None:
    """Each editor that was asked for an edit, and that all but the last handed it on."""
    for at, tally in enumerate(asked, start=1):
        place = ("edits", "by_editor", tally.editor)
        part.add(*place, "asked").add(*place, "handed_on", count=int(at < len(asked)))
        part.add(*place, "kinds", tally.kind, "asked")
        part.add(*place, "attempts", count=tally.attempts)
        for name in _TOKENS:
            part.add(*place, name, count=getattr(tally, name))


def _count_edit(part: Funnel, row: dict[str, Any], name: str, count: int = 1) -> None:
    """Count what became of an edit by kind, by form and kind, and by editor and kind; edits without a form stand."""
    part.add("edits", "by_kind", row["kind"], name, count=count)
    part.add("edits", "by_form", row["form"] or Form.STANDS, row["kind"], name, count=count)
    editor = row["editor"] or UNKNOWN_EDITOR
    part.add("edits", "by_editor", editor, name, count=count)
    part.add("edits", "by_editor", editor, "kinds", row["kind"], name, count=count)


def count_profile(profile: ErrorProfile) -> Funnel:
    """First errors of the shard's wrong samples, by kind; ``unclassified`` where their arithmetic shows none."""
    part = Funnel()
    for kind, count in {**profile.counts, "unclassified": profile.unclassified}.items():
        part.add("samples", "first_errors", kind, count=count)
    return part


def _tokens(rows: Rows) -> list[int]:
    """Prompt, completion and cached tokens of all rows."""
    return [sum(row[name] for row in rows) for name in _TOKENS]


def count_continuations(completions: Sequence[Completion]) -> Funnel:
    """Tokens spent on continuations."""
    rows = [{name: getattr(completion, name) for name in _TOKENS} for completion in completions]
    return Funnel().add_tokens("continue", *_tokens(rows))


def count_proofs(rows: Rows) -> Funnel:
    """Edits proven by evidence, and those rejected in proof. ``rows`` carry ``kind``, ``form`` and ``editor``, too."""
    part = Funnel()
    for row in rows:
        if row["reason"] is None:
            part.add("edits", "proven", row["evidence_kind"])
            label = "unproven_kept" if row["evidence_kind"] == "unproven" else "proven"
            _count_edit(part, row, label)
        else:
            part.add("edits", "rejected", row["reason"])
            _count_edit(part, row, row["reason"])
    return part


def drop_edits(session: Session, lease: Lease, edits: Sequence[EditRow]) -> None:
    """Reject the edits of problems that this stage set aside, and count them. Call inside ``Finish.write`` only."""
    update_by_key(session, EditRow, [{"id": edit.id, "reason": str(Reason.ERROR)} for edit in edits])
    add_counts(session, lease, count_failed(edits, lease.stage))


def count_failed(edits: Sequence[EditRow], stage: Stage) -> Funnel:
    """Edits of problems that a stage behind ``edit`` set aside: what screening and proof said of them is taken back."""
    part = Funnel()
    for edit in edits:
        row = {"kind": edit.kind, "form": edit.form, "editor": edit.editor}
        part.add("edits", "rejected", Reason.ERROR)
        part.add("edits", "by_editor", edit.editor or UNKNOWN_EDITOR, "kept", count=-1)
        _count_edit(part, row, Reason.ERROR)
        if stage == Stage.PAIR:
            kind = edit.evidence_kind or EvidenceKind.UNPROVEN
            part.add("edits", "proven", kind, count=-1)
            _count_edit(part, row, "unproven_kept" if kind == EvidenceKind.UNPROVEN else "proven", -1)
    return part


def count_pairs(rows: Rows, not_chosen: Sequence[EditRow]) -> Funnel:
    """Pairs by type, kind, form, editor and evidence, and the proven edits that made none."""
    part = Funnel().add("pairs", "total", count=len(rows))
    for row in rows:
        part.add("pairs", "by_type", row["type"])
        if row["type"] == "step":
            part.add("pairs", "by_kind", row["error_kind"])
            part.add("pairs", "by_form", row["form"] or Form.STANDS)
            part.add("pairs", "by_editor", row["editor"] or UNKNOWN_EDITOR)
            part.add("pairs", "by_evidence", row["evidence_kind"])
            _count_edit(part, {**row, "kind": row["error_kind"]}, "pairs")
    for edit in not_chosen:
        part.add("edits", "rejected", "not_chosen")
        _count_edit(part, {"kind": edit.kind, "form": edit.form, "editor": edit.editor}, "not_chosen")
    return part


def record_engine_away(session: Session, lease: Lease, error: str) -> None:
    """``engine_unavailable``, unless the job has the same from a moment ago: every waiting shard finds it out."""
    data = {"shard": lease.shard_id, "error": storable(error[:500])}
    known = _events(session, lease, "engine_unavailable", _AWAY_AGAIN_SECONDS)
    if data["error"] not in [told.get("error") for told in known]:
        record_owner_event(session, lease, "engine_unavailable", **data)


def record_editor_unavailable(session: Session, lease: Lease, editor: str, error: str) -> None:
    """``editor_unavailable``, once per job and editor: its steps went to the next editor, or stayed as they were."""
    if editor not in [told.get("editor") for told in _events(session, lease, "editor_unavailable")]:
        record_owner_event(session, lease, "editor_unavailable", editor=editor, error=error[:500])


def record_engine_use(session: Session, lease: Lease, journal: Journal) -> None:
    """``engine_used``, once per job and engine version, and ``engine_retried`` with what was asked again and how often.

    ``engine_used`` names the capabilities that were done without (``fallbacks``). Nothing where no engine was asked.
    Two shards that finish at once may both write ``engine_used``.
    """
    if journal.engine is None:
        return
    if journal.capabilities is not None and not _is_told(session, lease, journal.identity()):
        record_owner_event(session, lease, "engine_used", **journal.identity())
    if journal.retried:
        record_shard_event(session, lease, "engine_retried", counts=dict(journal.retried))


def _is_told(session: Session, lease: Lease, identity: Mapping[str, Any]) -> bool:
    """Whether the job has this ``engine_used``. Once found it is not looked for again: events are not taken back."""
    key = (str(session.connection().engine.url), lease.owner_id)
    if _told.get(key) == identity:
        return True
    if identity not in _events(session, lease, "engine_used"):
        return False  # what is recorded now may be rolled back yet: the next look finds it
    with _telling:
        _told[key] = dict(identity)
        while len(_told) > _TOLD_KEPT:
            del _told[next(iter(_told))]
    return True


def _events(session: Session, lease: Lease, kind: str, seconds: float | None = None) -> Sequence[dict[str, Any]]:
    """Data of the owner's events of one kind; with ``seconds``, of the recent ones."""
    query = select(Event.data).where(Event.subject_id == lease.owner_id, Event.type == kind)
    return session.scalars(query if seconds is None else query.where(Event.created_at > db_now(-seconds))).all()
