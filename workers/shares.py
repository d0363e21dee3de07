"""Fair shares of one worker's slots: between workspaces, and between the jobs of each.

Stride scheduling, kept in this process: whoever is served pays by the problems of the shard, and who paid least goes
next. Workspaces have equal shares. Among a workspace's jobs a priority is a weight, so that a low one still moves. Who
did not wait saves up nothing. Every worker is fair by itself, so no worker writes anything down, and one that starts
begins anew.

Jobs of different models that this worker's engine children load take turns of many problems: to load a model may take
longer than a shard.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.shares import WaitingOwner
from workers.app import GENERATION
from workers.engines.registry import ENGINES

TURN = 128  # problems of one loaded model before another is loaded, where both have some to do
_TIMES_A_STEP = 4.0  # a priority gets four times the share of the one below it


@dataclass
class _Line:
    """Those who share something: what each has paid, and what the last one served had paid before."""

    now: float = 0.0
    paid: dict[str, float] = field(default_factory=dict)

    def standing(self, name: str) -> float:
        """What counts as paid: at least what was paid by whoever is being served."""
        return max(self.paid.get(name, 0.0), self.now)

    def charge(self, name: str, cost: float) -> None:
        """Somebody is served."""
        before = self.standing(name)
        self.now = max(self.now, before)
        # Whoever is behind the line stands at its beginning when it comes again: it need not be remembered.
        self.paid = {other: paid for other, paid in self.paid.items() if paid > self.now}
        self.paid[name] = before + cost


class Shares:
    """What the workspaces and jobs served here have had of each queue. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workspaces: dict[str, _Line] = defaultdict(_Line)  # by queue
        self._jobs: dict[tuple[str, str], _Line] = defaultdict(_Line)  # by queue and workspace
        self._turns: dict[str, tuple[str, int]] = {}  # by queue: the model loaded last, and its problems since then

    def order(self, queue: str, waiting: Sequence[WaitingOwner]) -> list[WaitingOwner]:
        """Those who wait, the one to be served first in front."""

        def place(each: WaitingOwner) -> tuple[float, float, float, str]:
            of_workspace = self._workspaces[queue].standing(each.workspace_id)
            of_job = self._jobs[queue, each.workspace_id].standing(each.owner_id)
            return of_workspace, of_job, each.created_at.timestamp(), each.owner_id

        with self._lock:
            fair = sorted(waiting, key=place)
            model, problems = self._turns.get(queue, (None, 0))
        if model is None or problems >= TURN or not fair or loaded_model(queue, fair[0]) in (None, model):
            return fair
        return sorted(fair, key=lambda each: loaded_model(queue, each) != model)

    def charge(self, queue: str, served: WaitingOwner, problems: int) -> None:
        """A shard of so many problems was claimed."""
        cost, model = float(max(1, problems)), loaded_model(queue, served)
        with self._lock:
            if model is not None:
                last, before = self._turns.get(queue, (None, 0))
                self._turns[queue] = (model, problems + (before if last == model else 0))
            self._workspaces[queue].charge(served.workspace_id, cost)
            self._jobs[queue, served.workspace_id].charge(served.owner_id, cost / _TIMES_A_STEP**served.priority)


def loaded_model(queue: str, owner: WaitingOwner) -> str | None:
    """The model that an engine child must have loaded for this owner; None where a server has it, or none is asked."""
    kind = ENGINES.get(owner.engine or "") if queue == GENERATION else None
    return owner.model if kind is not None and kind.in_child else None
