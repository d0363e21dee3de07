"""An answer that comes as a stream, put together into what the server would have answered at once. Pure: no HTTP.

One request of each batch is asked for so: its tokens show that a job moves while its server writes long answers. To ask
for all of them so would cost the server, and us, a message per token. Where somebody listens, all are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

#: What a request carries beside its own fields, to be answered by a stream with the counts at its end.
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
_DATA, _DONE = b"data:", b"[DONE]"


class StreamedAnswer:
    """Takes the bytes of a ``text/event-stream`` as they come. ``tell`` hears how many tokens have come.

    ``hear`` is given the choices as far as they have come. An answer whose stream counts no tokens counts its messages.
    """

    def __init__(
        self, tell: Callable[[int], None], hear: Callable[[Sequence[dict[str, Any]]], None] | None = None
    ) -> None:
        self._tell, self._hear = tell, hear
        self._rest = b""  # of a line that is not whole yet
        self._choices: dict[int, dict[str, Any]] = {}
        self._whole: dict[str, Any] = {}
        self._tokens = 0

    def feed(self, data: bytes) -> None:
        """Some more bytes. Raises ValueError for a message that is not a JSON object."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            told = line.removeprefix(_DATA).strip()
            if line.startswith(_DATA) and told != _DONE:
                self._take(json.loads(told))
        self._tell(self._tokens)
        if self._hear is not None:
            self._hear(list(self._choices.values()))

    def answer(self) -> dict[str, Any]:
        """All of it: choices with whole texts and ids, and the usage; an error where the server told one amid it."""
        counted = {"usage": {"completion_tokens": self._tokens}} if self._hear is not None else {}
        return {**counted, **self._whole, "choices": [self._choices[at] for at in sorted(self._choices)]}

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("a message of the stream is no object")
        for name in ("usage", "error"):
            if message.get(name):
                self._whole[name] = message[name]
        for piece in message.get("choices") or ():
            self._add(piece)

    def _add(self, piece: dict[str, Any]) -> None:
        index = int(piece.get("index") or 0)
        choice = self._choices.setdefault(index, {"index": index, "finish_reason": None})
        ids = piece.get("token_ids")
        if isinstance(ids, list):
            choice["token_ids"] = [*choice.get("token_ids", ()), *ids]
        delta = piece.get("delta")
        if isinstance(delta, dict):
            message = choice.setdefault("message", {})
            for name in ("content", "reasoning_content", "reasoning"):
                if isinstance(delta.get(name), str):
                    message[name] = message.get(name, "") + delta[name]
        else:
            choice["text"] = choice.get("text", "") + (piece.get("text") or "")
        choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]
        self._tokens += len(ids) if isinstance(ids, list) else 1
