"""Dropout: the adapter's own, in training alone; the base model's is off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from tests.training.test_run import assert_equal_bits, make_spec, run, weights
from workers.training.run.loading import disable_base_dropout


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
