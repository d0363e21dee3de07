"""What a model is found out to do: take trees or not, and score plain rows as its own forward pass does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconH1Config,
    FalconH1ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
)

from tests.training.conftest import make_tokenizer
from tests.training.test_run import assert_equal_bits, make_spec, run, weights
from workers.training.protocol import CannotTrain
from workers.training.run.loading import disable_base_dropout
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


def lora(dropout: float) -> dict[str, Any]:
    return {"r": 4, "alpha": 8, "dropout": dropout}


def test_an_adapters_dropout_changes_what_is_learned(tmp_path: Path) -> None:
    without, with_it = (run(make_spec(tmp_path, str(d), lora=lora(d), learning_rate=0.01)) for d in (0.0, 0.5))
    losses = [[m["values"]["loss"] for m in recorder.of("metrics")] for recorder in (without, with_it)]
    assert losses[0][0] == losses[1][0], "an adapter adds nothing before it has learned"
    assert losses[0][2:] != losses[1][2:]


def test_stopped_and_resumed_equals_unbroken_with_dropout(tmp_path: Path) -> None:
    whole, broken = (make_spec(tmp_path, name, lora=lora(0.5), epochs=2) for name in ("whole", "broken"))
    unbroken, stopped = run(whole), run(broken, stop_at=2)
    resumed = run(broken)
    assert resumed.of("resumed")[0]["step"] == 3
    assert stopped.of("metrics") + resumed.of("metrics") == unbroken.of("metrics")
    assert_equal_bits(weights(whole), weights(broken))


def test_reference_and_held_out_passes_drop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[bool, bool]] = set()

    class Watching(torch.nn.Dropout):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            seen.add((torch.is_grad_enabled(), self.training))
            return super().forward(input)

    monkeypatch.setattr("peft.tuners.lora.layer.nn.Dropout", Watching)
    spec = make_spec(tmp_path, lora=lora(0.5), best="eval_loss", max_steps=2)
    source = spec.dataset_folder / "steps_and_full" / "train.jsonl"
    source.with_name("test.jsonl").write_bytes(source.read_bytes())
    run(spec)
    assert seen == {(True, True), (False, False)}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_base_models_own_is_off(dropout: float) -> None:
    base = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=16))
    model: Any = get_peft_model(base, LoraConfig(target_modules=["c_attn"], lora_dropout=dropout, fan_in_fan_out=True))
    before = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    disable_base_dropout(model)
    after = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
    assert before == {0.1, dropout} - {0.0}
    assert after == {0.0, dropout}
