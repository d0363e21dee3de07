"""What one server turned out to want otherwise, learnt from its refusals and kept: it is asked again at once.

Newer hosted models take ``max_completion_tokens`` in the place of ``max_tokens``; templates without a system role make
their servers refuse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errata.types import Message
from workers.engines.openai_http import RequestRejected
from workers.engines.rendering import folded

_REFUSED = frozenset({400, 422})


@dataclass
class Dialect:
    """``limit``: the field that bounds a completion. ``folds_system``: the first user turn holds the system prompt."""

    limit: str = "max_tokens"
    folds_system: bool = False

    def spoken(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as this server is known to want it."""
        if self.limit != "max_tokens" and "max_tokens" in body:
            body[self.limit] = body.pop("max_tokens")
        if self.folds_system and "messages" in body:
            turns = [Message(turn["role"], turn["content"]) for turn in body["messages"]]
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in folded(turns)]
        return body

    def learn(self, refusal: RequestRejected, body: dict[str, Any]) -> bool:
        """Whether a refusal told something new; then ``body`` is changed and may be sent again."""
        said = refusal.message.lower()
        if refusal.status not in _REFUSED or "messages" not in body:
            return False
        if "max_completion_tokens" in said and "max_tokens" in body:
            self.limit = "max_completion_tokens"
        elif "system" in said and "role" in said and body["messages"][0]["role"] == "system":
            self.folds_system = True
        else:
            return False
        self.spoken(body)
        return True
