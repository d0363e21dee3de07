"""How far one attempt at a stage is: what engines say of the batch they work on, added up for whoever asks meanwhile.

Nothing here is counted in the funnel: that counts rows, once, when the stage has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from workers.engines.base import Completion, Scores

_SCORED = 0.5  # the share of a stage's open items that scoring their texts stands for: what is made of them is to come


class SoFar(NamedTuple):
    """What a batch has made until now.

    ``done``: completions that ended, or texts scored. ``tokens``: generated for all completions, ended or not.
    ``open``: completions that have not ended, each counted as the share of its limit of tokens that it has used.
    """

    done: int = 0
    tokens: int = 0
    open: float = 0.0


class Meter:
    """Numbers of one attempt at a stage, which only grow. Thread-safe.

    A stage makes items (samples, edits), each of one completion, or of up to ``attempts``. One batch is open at a time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total, self._attempts = 0, 1
        self._made = self._spared = 0
        self._loose = 0  # completions that ended and belong to no settled item
        self._spent = {"prompt": 0, "completion": 0, "cached": 0}
        self._reused = 0
        self._open = SoFar()
        self._scored = 0.0  # of the texts that are being scored, the share that is
        self._share, self._tokens = 0.0, 0
        self._doing: str | None = None

    def expect(self, total: int, attempts: int = 1) -> None:
        """The stage will make at most ``total`` items. With several ``attempts`` it says of each when it is settled."""
        with self._lock:
            self._total, self._attempts = total, attempts

    def settle(self, completions: int) -> None:
        """One more item is made, of so many completions."""
        with self._lock:
            self._made += 1
            self._loose -= completions

    def advance(self, items: int) -> None:
        """So many more items are made, of which no engine told anything."""
        with self._lock:
            self._made += items

    def spare(self, items: int) -> None:
        """So many items need not be made."""
        with self._lock:
            self._spared += items

    def doing(self, what: str) -> None:
        """What goes on before the open batch makes anything, such as loading its model."""
        with self._lock:
            self._doing = what

    def tell(self, so_far: SoFar) -> None:
        """What the open batch has made until now."""
        with self._lock:
            self._open, self._doing = so_far, None

    def tell_scored(self, share: float) -> None:
        """The share of the open batch's texts that is scored."""
        with self._lock:
            self._scored, self._doing = max(self._scored, share), None

    def add(self, completions: Sequence[Completion]) -> None:
        """These have ended. They take the place of what was told of the open batch."""
        with self._lock:
            self._open, self._doing = SoFar(), None
            self._loose += len(completions)
            self._spend(completions)
            self._spent["completion"] += sum(each.completion_tokens for each in completions)
            self._reused += sum(each.reused_tokens for each in completions)

    def add_scores(self, scores: Sequence[Scores]) -> None:
        """These texts are scored."""
        with self._lock:
            self._scored, self._doing = 1.0, None
            self._spend(scores)

    def _spend(self, answers: Sequence[Completion | Scores]) -> None:
        self._spent["prompt"] += sum(each.prompt_tokens for each in answers)
        self._spent["cached"] += sum(each.cached_tokens for each in answers)

    def snapshot(self) -> dict[str, Any] | None:
        """``made`` of at most ``total`` items, ``share`` of the stage (0 to 1), tokens by kind, and what is ``doing``.

        None before there is anything to tell.
        """
        with self._lock:
            done = self._loose + self._open.done
            self._tokens = max(self._tokens, self._spent["completion"] + self._open.tokens)
            # Kept from falling: an item that is asked for again, or a sibling that an engine has ended and not yet
            # given back, would take it down for a moment.
            self._share = max(self._share, self._reached(done + self._open.open))
            made = self._made + (done if self._attempts == 1 else 0)
            spent = {**self._spent, "completion": self._tokens}
            spent |= {"reused": self._reused} if self._reused else {}
            if not made and not self._share and not self._doing and not any(spent.values()):
                return None
            told = {"made": made, "total": self._total, "share": round(self._share, 4), **spent}
            return {**told, "doing": self._doing} if self._doing else told

    def _reached(self, completions: float) -> float:
        if not self._total:
            return 0.0
        settled = self._made + self._spared
        scored = _SCORED * self._scored * max(0, self._total - settled)
        return min(1.0, (settled + max(scored, completions / self._attempts)) / self._total)
