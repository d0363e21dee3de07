"""A language model whose every reply is known: a function of the request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from workers.engines.base import Cancelled, Completion, GenerationRequest, Journal, ModelSpec
from workers.engines.follow_ups import FollowUp, in_rounds

MODEL = {"engine": "transformers", "config": {"path": "/scripted"}}
"""How a job's registry names it (see ``run_job``)."""


class Scripted:
    """Answers by ``reply``: a text that ends its turn, or one with how it ended. Remembers what was asked of whom."""

    def __init__(self, reply: Callable[[GenerationRequest], str | tuple[str, str]]) -> None:
        self.reply = reply
        self.requests: list[GenerationRequest] = []
        self.models: set[str] = set()

    def close(self) -> None:
        """Nothing to end."""

    def generate(
        self,
        model: ModelSpec,
        requests: Sequence[GenerationRequest],
        cancelled: Callable[[], bool],
        journal: Journal | None = None,
        follow_up: FollowUp | None = None,
    ) -> list[list[Completion]]:
        """Completions with 10 tokens in and 5 out each."""
        if cancelled():
            raise Cancelled
        self.models.add(model.name)
        return in_rounds(self._answers, requests, follow_up)

    def _answers(self, requests: Sequence[GenerationRequest]) -> list[list[Completion]]:
        self.requests += requests
        return [[self._completion(request) for _ in range(request.n)] for request in requests]

    def _completion(self, request: GenerationRequest) -> Completion:
        told = self.reply(request)
        text, ended = (told, "stop") if isinstance(told, str) else told
        return Completion(text, ended, 10, 5)  # type: ignore[arg-type]
