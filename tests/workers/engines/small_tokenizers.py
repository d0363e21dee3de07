"""Tokenizers of a few words, made as those of well-known model families are, in folders as models have them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from workers.engines.rendering import LocalTokenizer

TEMPLATE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"


def saved(folder: Path, tokenizer: Tokenizer, **config: Any) -> LocalTokenizer:
    """The tokenizer as a model's folder has it."""
    write_folder(folder, tokenizer, **config)
    return LocalTokenizer(str(folder))


def write_folder(folder: Path, tokenizer: Tokenizer, **config: Any) -> None:
    """tokenizer.json and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    given = {"chat_template": TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(given))


def with_spaces_prepended() -> Tokenizer:
    """Like Llama 2's: a space before every text, spaces as marks, and a decoder that drops the first."""
    words = ["▁Step", "▁two", "▁The", "▁5", "▁[", "▁=", "▁a", "▁x", "Step", "two", "The"]
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    merges: list[tuple[str, str]] = []
    for word in words:
        for at in range(1, len(word)):
            merges.append((word[:at], word[at]))
    letters = dict.fromkeys("▁\n\x01|[]:=.,0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for piece in (*letters, *(left + right for left, right in merges)):
        vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges)), unk_token="<unk>"))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def with_spaces_before_words(special: Iterable[str] = ()) -> Tokenizer:
    """Like GPT-2's and Qwen's: bytes, and a word takes the space before it along."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: at for at, letter in enumerate(alphabet)}
    merges = [("T", "h"), ("Th", "e"), ("Ġ", "The"), ("Ġ", "a")]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return tokenizer
