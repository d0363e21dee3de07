"""A Llama with random weights and a byte-level BPE tokenizer learnt from texts: lengths and costs of a real one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 4096
SIZES = {"1m": (128, 4, 384), "25m": (512, 8, 1536)}  # hidden, layers, inner; parameters besides embeddings
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def build(shape: tuple[int, int, int], **settings: Any) -> Any:
    """A Llama with random weights, the same each time. ``shape``: hidden, layers, inner; ``settings``: its others."""
    hidden, layers, inner = shape
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=inner,
        num_attention_heads=hidden // 64,
        tie_word_embeddings=True,
        bos_token_id=None,
        **settings,
    )
    return LlamaForCausalLM(config)


def save(folder: Path, texts: Iterable[str], size: str, context: int) -> int:
    """Write model and tokenizer; the number of parameters."""
    tokenizer = _tokenizer(texts)
    model = build(
        SIZES[size],
        vocab_size=VOCABULARY,
        num_key_value_heads=max(1, SIZES[size][0] // 256),
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(int(weights.numel()) for weights in model.parameters())


def _tokenizer(texts: Iterable[str]) -> Any:
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<|pad|>", eos_token="<|end|>")  # type: ignore[no-untyped-call]
    tokenizer.chat_template = _TEMPLATE
    return tokenizer
