"""A text as the tokens that are scored: which ids follow the prompt, and which characters of the text each of them is.

The reply's opening and the text are tokenised as one, as a model would write them, so a token may reach over the joint.
Offsets come from the tokenizer and count characters, not bytes. The texts of alternatives are decoded behind another
token: alone, a tokenizer that marks a word's start by its space would drop that space.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from workers.engines.base import Alternative, EngineError, ScoreRequest, Scores, TokenScore
from workers.engines.rendering import rendered_messages

TokenLogprobs = tuple[float, Sequence[tuple[int, float]]]
"""A token's own log-probability, and the likeliest ids at its place with theirs (its own may be among them)."""


@dataclass(frozen=True, slots=True)
class ScoredText:
    """``ids`` go to the model; those from ``first`` on are the text's, with an offset pair in ``spans`` each.

    A token that begins in the reply's opening has its part of it in ``lead``; so has one whose space no text holds.
    """

    ids: list[int]
    first: int
    spans: list[tuple[int, int]]
    leads: list[str]


class TextScorer:
    """Encodes and decodes for one tokenizer, transformers' or a LocalTokenizer. Raises EngineError for a slow one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise EngineError("this tokenizer tells no character offsets: give the model a tokenizer.json")
        # A copy: the post-processors of byte-level tokenizers cut spaces off the offsets.
        self._plain = Tokenizer.from_str(backend.to_str())
        self._plain.post_processor = None
        self._plain.no_truncation()
        self._plain.no_padding()
        self._anchor = self._plain.encode("a", add_special_tokens=False).ids
        self._texts: dict[int, str] = {}

    def encode(self, request: ScoreRequest) -> ScoredText:
        """The prompt's ids and the text's, with offsets."""
        rendered = rendered_messages(self._tokenizer, request.prompt, opened=True)
        head: list[int] = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        opening = request.prompt.assistant_prefix
        reply = opening + request.text
        encoding = self._plain.encode(reply, add_special_tokens=False)
        # Tokens that end within the opening are given; the first that ends behind it may begin in it.
        at = next((n for n, (_, end) in enumerate(encoding.offsets) if end > len(opening)), len(encoding.ids))
        spans, leads = [], []
        for token, (start, end) in zip(encoding.ids[at:], encoding.offsets[at:], strict=True):
            lead = reply[start : len(opening)] if start < len(opening) else ""
            if self._text(token) == " " + reply[start:end]:  # a space that the tokenizer put there
                lead = " " + lead
            spans.append((max(start - len(opening), 0), end - len(opening)))
            leads.append(lead)
        return ScoredText(head + encoding.ids, len(head) + at, spans, leads)

    def scores(
        self,
        request: ScoreRequest,
        text: ScoredText,
        told: Iterable[TokenLogprobs],
        cached: int = 0,
        at: Sequence[tuple[float, ...]] = (),
    ) -> Scores:
        """The scores of the text's tokens, from what the model tells at each of them.

        ``at``: of each token its log-probability at the temperatures of the request, where the engine tells them.
        """
        tokens = []
        tempered = at or [()] * len(text.spans)
        places = zip(text.ids[text.first :], text.spans, text.leads, told, tempered, strict=True)
        for token, span, lead, (own, others), by_temperature in places:
            ranked = sorted(((i, p) for i, p in others if i != token), key=lambda pair: -pair[1])
            found = (self._alternative(i, p, lead) for i, p in ranked[: request.alternatives])
            kept = tuple(other for other in found if other is not None)
            tokens.append(TokenScore(token, *span, own, kept, by_temperature))
        return Scores(tuple(tokens), len(text.ids), cached)

    def _alternative(self, token: int, logprob: float, lead: str) -> Alternative | None:
        """The token as it would read in the text; None where it disagrees with what stands before the text."""
        shown = self._text(token)
        if lead.strip() and not shown.startswith(lead):
            return None
        return Alternative(shown.removeprefix(lead), logprob)

    def _text(self, token: int) -> str:
        if token not in self._texts:
            before = self._plain.decode(self._anchor, skip_special_tokens=False)
            both = self._plain.decode([*self._anchor, token], skip_special_tokens=False)
            self._texts[token] = both[len(before) :]
        return self._texts[token]


def unscored(text: ScoredText) -> Scores:
    """What is told of a text that does not fit the context."""
    return Scores((), len(text.ids))
