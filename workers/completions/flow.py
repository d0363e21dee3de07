"""A completion's texts as they grow, cut into the pieces that may be sent. Pure but for its lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from models.completions import Piece
from workers.engines.base import Completion, EngineError, Text, storable_text

_UNREADABLE = "\ufffd"  # what a decoder makes of a character that is not whole yet


class Flow:
    """What was heard of each choice, and what of it was taken. Thread-safe.

    Choices are counted through all requests: sample ``s`` of request ``r`` is choice ``r * n + s``. Held back is what
    may still turn out to be no part of the text: a stop string's beginning, and a character that is not whole yet.
    """

    def __init__(self, samples: int, stops: Sequence[str]) -> None:
        self._samples, self._stops = samples, [stop for stop in stops if stop]
        self._lock = threading.Lock()
        self._heard: dict[int, str] = {}
        self._taken: dict[int, str] = {}

    def hear(self, texts: Sequence[Text]) -> None:
        """Texts from their beginnings (workers.engines.base.Hear)."""
        with self._lock:
            self._heard |= {request * self._samples + sample: text for request, sample, text in texts}

    def take(self) -> list[Piece]:
        """What has come since the last time. Raises EngineError for a text that began anew as another one."""
        with self._lock:
            heard, self._heard = self._heard, {}
            return [piece for at, text in sorted(heard.items()) if (piece := self._piece(at, self._safe(text)))]

    def end(self, results: Sequence[Sequence[Completion]]) -> list[Piece]:
        """The rest of every choice, with how it ended. Raises EngineError as ``take``."""
        with self._lock:
            self._heard.clear()
            pieces: list[Piece] = []
            for request, completions in enumerate(results):
                for sample, completion in enumerate(completions):
                    at = request * self._samples + sample
                    piece = self._piece(at, storable_text(completion.text), whole=True)
                    pieces.append((at, piece[1] if piece else "", completion.finish_reason))
            return pieces

    def _piece(self, at: int, text: str, *, whole: bool = False) -> Piece | None:
        taken = self._taken.get(at, "")
        if not text.startswith(taken):
            if not whole and taken.startswith(text):  # asked for anew, and not as far yet
                return None
            raise EngineError("the answer was begun anew and became another one", retryable=True)
        self._taken[at] = text
        return (at, text[len(taken) :], None) if len(text) > len(taken) else None

    def _safe(self, text: str) -> str:
        text = text.rstrip(_UNREADABLE)
        cut = min((found for stop in self._stops if (found := text.find(stop)) >= 0), default=None)
        if cut is not None:
            return storable_text(text[:cut])
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        held = next(
            (
                size
                for size in range(min(longest, len(text)), 0, -1)
                if any(stop.startswith(text[-size:]) for stop in self._stops)
            ),
            0,
        )
        return storable_text(text[: len(text) - held])
