"""What an event of a job, dataset or run says, as a sentence: the same in the API, the command line and the pages."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

#: What an engine may lack (workers.engines.base.Capabilities).
_LACKS = {
    "structured": "replies that must be JSON (it is asked in words)",
    "per_request_seed": "seeds of single requests",
}
_LIMITS = {
    "accepted_pairs": "pairs",
    "generated_tokens": "generated tokens",
    "prompt_tokens": "prompt tokens",
    "money": "spent on tokens",
}

#: By type. A field that an event lacks makes the sentence the plain one: the type and what the event holds.
_SENTENCES: dict[str, str] = {
    "cancelling": "It was asked to stop.",
    "cancelled": "It ended, cancelled. What it has is kept.",
    "paused": "It was paused: nothing of it runs until it is resumed.",
    "resumed": "It goes on.",
    "stopped": "It reached its limit: {reached:,} of {at:,} {limit}. Nothing new starts.",
    "skipped": "{problems:,} problems ({shards:,} shards) were never begun and are skipped. An extension takes them.",
    "extended": "Job {by} adds to it.",
    "shard_failed": "Shard {shard} failed at {stage} and is tried again: {error}",
    "shard_interrupted": "Shard {shard} was interrupted at {stage} and goes on.",
    "shard_quarantined": "Shard {shard} failed three times at {stage} and is set aside: {error}",
    "problem_failed": "Problem {problem} raised an error at {stage} and is set aside: {error}",
    "engine_unavailable": "The language model's engine is away: {error}",
    "editor_unavailable": "The editor '{editor}' cannot be used: {error}",
    "engine_retried": "Requests were asked again: {counts}.",
    "gates_refused": "The dataset was not made: gates refused it ({gates}).",
    "retracted": "It was retracted: {reason}",
    "retraction_withdrawn": "Its retraction was taken back.",
    "part_started": "It started {part}.",
    "training.claimed": "The trainer {worker} took it.",
    "training.waiting": "It waits for {waits_for}.",
    "training.hosts_missing": "Only {there:,} of {hosts:,} hosts came. Others go first, and then it waits again.",
    "training.started": "Its process started (pid {pid} of {worker}).",
    "training.running": "It trains: {total_steps:,} steps.",
    "training.resumed": "It goes on behind the checkpoint of step {step:,}.",
    "training.checkpoint": "The checkpoint of step {step:,} is written ({size_bytes:,} bytes).",
    "training.skipped": "The batch of step {step:,} was left out: {why}.",
    "training.shrunk": "Out of memory at step {step:,}: it goes on with a micro-batch of {micro_batch}.",
    "training.stopped": "It stopped behind step {step:,}, as asked.",
    "training.succeeded": "It succeeded: the language model '{model}' is registered.",
    "training.failed": "It failed: {error}",
    "training.interrupted": "It was interrupted and waits to go on.",
}


def sentence_of(kind: str, data: Mapping[str, Any]) -> str:
    """The sentence for an event of type ``kind`` with ``data``."""
    told = {name: value for name, value in data.items() if value is not None}
    special = _special(kind, told)
    if special is not None:
        return special
    template = _SENTENCES.get(kind)
    if template is not None and _fields(template) <= told.keys():
        try:
            return template.format(**{**told, "limit": _LIMITS.get(str(told.get("limit")), told.get("limit"))})
        except ValueError:  # an event of another version holds something else there
            return _plain(kind, told)
    return _plain(kind, told)


def _special(kind: str, told: Mapping[str, Any]) -> str | None:
    """Sentences that depend on what the event holds."""
    if kind == "progress":
        return f"It is at {told.get('fraction', 0):.0%}."
    if kind == "queued":
        if "from_run" in told:
            return f"It waits, to begin with the checkpoint of step {told.get('from_step')} of {told['from_run']}."
        if "shards" not in told:
            return "It waits for a trainer."
        return f"It waits, in {told['shards']:,} {'shard' if told['shards'] == 1 else 'shards'}."
    if kind == "succeeded":
        partial = " without some of its shards" if told.get("partial") else ""
        return " ".join([f"It succeeded{partial}.", *(str(told[n]) for n in ("advice", "error") if n in told)])
    if kind == "failed":
        return f"It failed: {told.get('error', 'unknown')}"
    if kind == "stopped" and told.get("limit") == "deadline":
        return f"Its deadline has come ({told.get('at')}). Nothing new starts."
    if kind == "stopped" and told.get("limit") == "money":
        spent, currency = told.get("reached", 0), told.get("currency", "")
        return f"It spent {spent:,.2f} of {told.get('at', 0):,.2f} {currency}. Nothing new starts."
    if kind == "limits_changed":
        limits = [_limit(name, at) for name, at in told.items()]
        return f"It now stops at {', or at '.join(limits)}." if limits else "It now has no limits."
    if kind == "training.gathered":
        return f"Its hosts are there: {_told(told.get('hosts') or 'unknown')}."
    if kind == "training.cancelled":
        return "It ended, cancelled. " + ("Its checkpoints are kept." if told.get("kept") else "No checkpoint is kept.")
    if kind == "engine_used":
        lacks = [_LACKS.get(name, str(name)) for name in told.get("fallbacks") or ()]
        return f"It uses the engine {told.get('engine', '')}" + (f", without {', '.join(lacks)}." if lacks else ".")
    return None


def _limit(name: str, at: Any) -> str:
    return f"its deadline {at}" if isinstance(at, str) else f"{at:,} {_LIMITS.get(name, name)}"


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _plain(kind: str, told: Mapping[str, Any]) -> str:
    words = kind.replace("_", " ").replace(".", ": ")
    listed = "; ".join(f"{name.replace('_', ' ')} {_told(value)}" for name, value in told.items())
    return f"{words.capitalize()}{': ' + listed if listed else ''}."


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_told(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
