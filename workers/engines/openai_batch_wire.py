"""Batches in OpenAI's shape: a file of requests in, files of answers and errors out. Pure: no HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.engines.openai_wire import Choices

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
#: Refusals that are answers: they say what is wrong with this request, and would say it again.
_TELLING = frozenset({400, 413, 422})
#: Why a whole batch fails although nothing is wrong with it (OpenAI): too much waits, or the provider is in trouble.
_PASSING = frozenset({"token_limit_exceeded", "rate_limit_exceeded", "server_error", "internal_error"})


def request_key(url: str, path: str, body: Mapping[str, Any]) -> str:
    """What tells a request from all others: where it is sent and all that is sent. It is the ``custom_id``."""
    told = json.dumps([url, path, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()[:40]


def request_line(key: str, path: str, body: Mapping[str, Any]) -> bytes:
    """A line of the file of requests, its end included."""
    line = {"custom_id": key, "method": "POST", "url": f"/v1{path}", "body": body}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class RemoteBatch:
    """A batch as the provider tells of it. ``errors``: code and message of what kept the whole of it from running."""

    id: str
    status: str
    files: tuple[str, ...] = ()  # of answers and of errors
    input_file: str | None = None
    created_at: float = 0.0
    mark: str | None = None
    done: int = 0
    errors: Sequence[tuple[str, str]] = field(default_factory=tuple)

    @property
    def has_ended(self) -> bool:
        """Whether the provider will do no more."""
        return self.status in ENDED

    @property
    def passes(self) -> bool:
        """Whether it failed for a reason that may be gone later."""
        return self.status == "failed" and any(code in _PASSING for code, _ in self.errors)

    @property
    def told(self) -> str:
        """How it ended, in the provider's words."""
        words = "; ".join(f"{message} ({code})" for code, message in self.errors[:3])
        return f"the batch {self.status}: {words}"[:1000] if words else f"the batch {self.status}"


def read_batch(given: Mapping[str, Any]) -> RemoteBatch:
    """The batch that a provider's object tells of; what it leaves out is empty."""
    files = tuple(str(given[name]) for name in ("output_file_id", "error_file_id") if given.get(name))
    errors = given.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else errors
    told = [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []
    counts, marks = given.get("request_counts"), given.get("metadata")
    counts = counts if isinstance(counts, dict) else {}
    made = given.get("created_at")
    return RemoteBatch(
        str(given.get("id") or ""),
        str(given.get("status") or "").lower(),
        files,
        str(given["input_file_id"]) if given.get("input_file_id") else None,
        float(made) if isinstance(made, int | float) else 0.0,
        str(marks["errata"]) if isinstance(marks, dict) and marks.get("errata") else None,
        sum(int(counts.get(name) or 0) for name in ("completed", "failed")),
        [(str(each.get("code") or "unknown"), str(each.get("message") or "")) for each in told],
    )


@dataclass(frozen=True, slots=True)
class Line:
    """What a file says of one request: an answer to be kept (JSON with status and body), or why there is none."""

    key: str
    answer: str | None
    error: str
    usage: tuple[int, int, int] = (0, 0, 0)  # tokens of the prompt, of completions, of the prompt from a cache


def read_lines(content: bytes) -> Iterator[Line]:
    """What a file of answers or errors says. Lines that cannot be read are left out: their requests are asked again."""
    for raw in content.splitlines():
        try:
            found = json.loads(raw)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("custom_id"), str):
            yield _line(found["custom_id"], found.get("response"), found.get("error"))


def _line(key: str, response: Any, error: Any) -> Line:
    if not isinstance(response, dict) or not isinstance(response.get("body"), dict):
        told = error if isinstance(error, dict) else {}
        return Line(key, None, f"{told.get('message') or 'no answer'} ({told.get('code') or 'unknown'})")
    status, body = int(response.get("status_code") or 0), response["body"]
    if status in _TELLING:
        return Line(key, json.dumps({"status": status, "body": body}), "")
    read = Choices.of(body) if status == 200 else None
    if read is None:
        return Line(key, None, f"HTTP {status}: {json.dumps(body)[:300]}")
    kept = {name: body[name] for name in ("choices", "usage") if name in body}
    usage = (read.prompt_tokens, read.completion_tokens, read.cached_tokens)
    return Line(key, json.dumps({"status": status, "body": kept}), "", usage)
