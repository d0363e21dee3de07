"""Which token of a scored text is which of its characters: many bytes, joints, and spaces that tokenizers put in."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from errata.types import Message, Prompt
from tests.workers.engines.conftest import MODEL
from tests.workers.engines.small_tokenizers import saved, with_spaces_prepended
from workers.engines.base import EngineError, ScoreRequest
from workers.engines.rendering import LocalTokenizer
from workers.engines.scoring import TextScorer


def request(text: str, opening: str = "") -> ScoreRequest:
    """A request to score a text."""
    return ScoreRequest(Prompt((Message("user", "q"),), opening, "v"), text)


def test_a_character_of_several_tokens_gives_each_of_them_its_offsets() -> None:
    scorer, text = TextScorer(LocalTokenizer(str(MODEL))), "🙂 = 7"
    spans = scorer.encode(request(text)).spans
    assert spans[0] == spans[1] == (0, 1)
    assert spans[-1] == (4, 5)
    assert {text[start:end].strip() for start, end in spans} == {"🙂", "=", "7", ""}


def test_a_token_that_begins_in_the_opening_counts_from_the_texts_start() -> None:
    scorer = TextScorer(LocalTokenizer(str(MODEL)))
    asked = request(" 1: 7", "Step")
    text = scorer.encode(asked)
    assert (text.spans[0], text.leads[0]) == ((0, 1), "Step")
    step, word = (scorer.encode(request(each)).ids[-1] for each in ("Step ", "So "))
    told = [(-1.0, [(step, -1.0), (word, -2.0)]), *[(-0.5, [])] * (len(text.spans) - 1)]
    assert scorer.scores(asked, text, told).tokens[0].alternatives == ()  # "So " does not open with "Step"


def test_a_space_that_the_tokenizer_puts_before_a_text_is_in_no_offset_and_no_alternative(tmp_path: Path) -> None:
    scorer = TextScorer(saved(tmp_path, with_spaces_prepended()))
    asked = request("5 = 5")
    text = scorer.encode(asked)
    assert text.spans == [(0, 1), (1, 3), (3, 5)]
    ids = text.ids[text.first :]
    other = scorer.encode(request("a")).ids[-1]
    told = [(-1.0, [(i, -0.5), (other, -1.5)]) for i in ids]
    scores = scorer.scores(asked, text, told).tokens
    assert [[a.text for a in token.alternatives] for token in scores] == [["a"], [" a"], [" a"]]


def test_offsets_keep_the_spaces_that_a_post_processor_cuts_off(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "Ġ": 1, "Ġa": 2, "[": 3, "]": 4, "q": 5}, merges=[("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    assert TextScorer(saved(tmp_path, tokenizer)).encode(request("a a")).spans == [(0, 1), (1, 3)]


def test_a_tokenizer_without_offsets_is_refused() -> None:
    with pytest.raises(EngineError, match=r"tokenizer\.json"):
        TextScorer(object())
