"""What a model is found out to do: take trees or not, and score plain rows as its own forward pass does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
)

from tests.training.conftest import make_tokenizer
from tests.training.test_run import make_spec, run
from workers.training.protocol import CannotTrain
from workers.training.run.scoring import add_scoring, require_own_logps, supports_trees

SMALL = {"vocab_size": 300, "hidden_size": 32, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def bloom() -> Any:
    torch.manual_seed(0)
    return BloomForCausalLM(BloomConfig(**SMALL, n_layer=2, n_head=4))


def test_a_model_that_fails_under_a_tree_mask_trains_on_plain_pairs(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, max_steps=1)
    bloom().save_pretrained(spec.model_path)
    (Path(spec.model_path) / "generation_config.json").unlink(missing_ok=True)
    make_tokenizer().save_pretrained(spec.model_path)
    recorder = run(spec)
    (ready,) = recorder.of("ready")
    assert ready["packing"] == "pairs"
    assert ready["note"].startswith("plain pairs instead of trees: it fails under a tree mask (ValueError")
    assert recorder.of("finished")


def test_a_lack_of_memory_in_the_trial_is_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL, **LAYERS))
    add_scoring(model)

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("workers.training.run.scoring.attention_mask", full)
    with pytest.raises(torch.OutOfMemoryError):
        supports_trees(model)
    assert model.training


def test_a_model_that_counts_distances_along_the_row_is_found_out() -> None:
    """ALiBi takes the mask and no positions: only what stands far behind its prefix comes out wrong."""
    torch.manual_seed(0)
    model = MptForCausalLM(MptConfig(vocab_size=300, d_model=32, n_layers=2, n_heads=4))
    add_scoring(model)
    require_own_logps(model)
    assert "differ by" in str(supports_trees(model))


def test_multiplied_logits_are_the_models_own() -> None:
    torch.manual_seed(0)
    shape = {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "num_key_value_heads": 2}
    model = FalconH1ForCausalLM(FalconH1Config(**SMALL, **LAYERS, **shape, lm_head_multiplier=8.0))
    add_scoring(model)
    require_own_logps(model)


def test_logits_of_an_unknown_kind_are_refused() -> None:
    class Tempered(LlamaForCausalLM):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 8
            return output

    model = Tempered(LlamaConfig(**SMALL, **LAYERS))
    add_scoring(model)
    with pytest.raises(CannotTrain, match="its own log-probabilities differ from the trainer's"):
        require_own_logps(model)
