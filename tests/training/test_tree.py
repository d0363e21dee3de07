"""Tree-packed batches against TRL's own DPO loss on the same token ids: loss and gradients, every kind of model."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from trl import DPOConfig, DPOTrainer

from tests.training.conftest import make_tokenizer
from workers.training.config import TrainingConfig, resolve
from workers.training.protocol import CannotTrain
from workers.training.run.data import Pair
from workers.training.run.loading import load_model
from workers.training.run.objective import PairScores, count, rise_loss
from workers.training.run.packing import pack
from workers.training.run.scoring import add_scoring, completion_logps, supports_trees

SHAPE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {}),
    "mistral": (MistralForCausalLM, MistralConfig, {"sliding_window": 16}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {"sliding_window": 16, "head_dim": 8, "num_hidden_layers": 7}),
}


def build(family: str, seed: int = 0, **more: Any) -> Any:
    model_class, config_class, extra = FAMILIES[family]
    torch.manual_seed(seed)
    config = config_class(**{**SHAPE, **extra, **more}, pad_token_id=0, eos_token_id=1, bos_token_id=None)
    config._attn_implementation = "sdpa"
    return model_class(config)


def make_pairs(edits: int, problems: int = 2, seed: int = 0) -> list[Pair]:
    """Per problem a full pair and ``edits`` step pairs, lengths uneven, edits of one token or longer."""
    rng, pairs = random.Random(seed), []

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(4, 290) for _ in range(n))

    for p in range(problems):
        question, steps = ids(rng.randrange(8, 20)), [ids(rng.randrange(3, 9)) for _ in range(5)]
        for k in range(edits):
            rejected = list(steps[k])
            at = rng.randrange(len(rejected))
            rejected[at : at + 1] = ids(rng.randrange(1, 4))
            before = question + tuple(t for s in steps[:k] for t in s)
            pairs.append(Pair(f"{p}.{k}", f"p{p}", True, "operator", before, steps[k], tuple(rejected)))
        trunk = tuple(t for s in steps for t in s)
        pairs.append(Pair(f"{p}.f", f"p{p}", False, None, question, (*trunk, 1), (*ids(rng.randrange(8, 40)), 1)))
    return pairs


class PlainTRL(DPOTrainer):
    """TRL's trainer, given ids: no text to prepare, nothing sent anywhere."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _send_telemetry(self) -> None: ...


def trl_loss(model: Any, reference: Any, pairs: list[Pair], folder: Path, config: TrainingConfig) -> Any:
    """Loss and gradients of TRL itself."""
    sft = config.nll_weight > 0
    arguments = DPOConfig(
        output_dir=str(folder),
        beta=config.beta,
        loss_type=[config.loss, "sft"] if sft else [config.loss],
        loss_weights=[1.0, config.nll_weight] if sft else None,
        max_length=None,
        per_device_train_batch_size=len(pairs),
        gradient_checkpointing=False,
        report_to="none",
        bf16=False,
        use_cpu=True,
    )
    rows = [{"prompt_ids": list(p.prompt_ids), "chosen_ids": list(p.chosen_ids), "rejected_ids": list(p.rejected_ids)}
            for p in pairs]  # fmt: skip
    trainer = PlainTRL(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=make_tokenizer(),
    )
    model.train()
    loss = trainer.compute_loss(model, trainer.data_collator(rows))
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad and p.grad is not None])


def our_loss(model: Any, reference: Any, pairs: list[Pair], config: TrainingConfig) -> Any:
    """Loss and gradients of one tree-packed pass."""
    add_scoring(model)
    packed = pack(pairs, config.packing)
    with torch.no_grad():
        if reference is None:
            with model.disable_adapter():
                ref, _ = completion_logps(model, packed)
        else:
            add_scoring(reference)
            ref, _ = completion_logps(reference, packed)
    model.train()
    logps, _ = completion_logps(model, packed)
    scores = PairScores(logps[0::2], logps[1::2], ref[0::2], ref[1::2], packed.lengths[0::2], packed.lengths[1::2],
                        torch.tensor([p.is_step for p in pairs]))  # fmt: skip
    outcome = rise_loss(scores, count(pairs, config), config)
    outcome.loss.backward()
    return outcome.loss.item(), gradients(model)


def assert_same(ours: Any, theirs: Any) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    difference = ((ours[1] - theirs[1]).norm() / theirs[1].norm()).item()
    assert difference < 1e-4


PLAIN: dict[str, Any] = {"mean": "all-pairs", "nll_weight": 0.0, "beta": 0.3}
WITH_SFT: dict[str, Any] = {
    "mean": "all-pairs",
    "nll_weight": 0.7,
    "nll_gate": False,
    "nll_normalization": "batch",
    "nll_scope": "all",
    "beta": 0.3,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("edits", range(6))
@pytest.mark.parametrize("settings", [PLAIN, WITH_SFT], ids=["dpo", "dpo+sft"])
def test_full_weights_equal_trl(family: str, edits: int, settings: dict[str, Any], tmp_path: Path) -> None:
    config, pairs = resolve("errata", settings), make_pairs(edits, seed=edits)
    ours, theirs, reference = build(family), build(family), build(family, seed=1)
    expected = trl_loss(theirs, copy.deepcopy(reference), pairs, tmp_path, config)
    assert_same(our_loss(ours, reference, pairs, config), expected)


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "ipo", "hinge"])
def test_lora_equals_trl_in_every_loss(family: str, loss: str, tmp_path: Path) -> None:
    config, pairs = resolve("errata", {**PLAIN, "loss": loss}), make_pairs(3, seed=9)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(3)
    ours = get_peft_model(build(family), lora)
    theirs = copy.deepcopy(ours)
    # TRL would copy a ready adapter as its reference; ours starts from the base model, so TRL is given that one.
    expected = trl_loss(theirs, build(family), pairs, tmp_path, config)
    assert_same(our_loss(ours, None, pairs, config), expected)


@pytest.mark.parametrize("row_tokens", [None, 8, 400])
def test_rows_change_nothing(row_tokens: int | None) -> None:
    model, pairs = build("llama"), make_pairs(4, problems=5)
    add_scoring(model)
    plain, plain_spans = completion_logps(model, pack(pairs, "pairs"))
    packed = pack(pairs, "tree", row_tokens)
    tree, tree_spans = completion_logps(model, packed)
    assert torch.allclose(tree, plain, rtol=1e-5, atol=1e-4)
    assert torch.allclose(tree_spans, plain_spans, rtol=1e-5, atol=1e-4)
    assert packed.tokens < pack(pairs, "pairs").tokens / 2


@pytest.mark.parametrize("family", FAMILIES)
def test_block_masks_hide_what_tree_masks_hide(family: str) -> None:
    """FlexAttention's masks give the same log-probabilities; on a processor it runs forward only, and unfused."""
    models = [build(family), build(family)]
    models[1].set_attn_implementation("flex_attention")
    for model in models:
        add_scoring(model)
        model.eval()
    packed = pack(make_pairs(3), "tree")
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        masked, blocked = (completion_logps(model, packed)[0] for model in models)
        assert supports_trees(models[1]) is None
    assert torch.allclose(masked, blocked, rtol=1e-4, atol=1e-4)


def test_block_masks_are_refused_where_they_do_not_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CannotTrain, match="on a GPU only"):
        load_model(tmp_path, resolve("errata", {"attention": "flex"}))


def test_block_masks_are_compiled_as_often_as_a_run_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo's own limit is 8 variants; past it FlexAttention runs unfused, and nothing fails. Gemma 3 needs 14."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    build("qwen2").save_pretrained(tmp_path)
    with torch._dynamo.config.patch(recompile_limit=8):
        load_model(tmp_path, resolve("errata", {"attention": "sdpa"}))
        assert torch._dynamo.config.recompile_limit == 8
        load_model(tmp_path, resolve("errata", {"attention": "flex"}))
        assert torch._dynamo.config.recompile_limit >= 32


def test_every_prefix_is_computed_once() -> None:
    question, steps = (5, 6, 7), [(10, 11), (12, 13), (14, 15)]
    pairs = [
        Pair("a", "p", True, None, question + steps[0], steps[1], (12, 99)),
        Pair("b", "p", False, None, question, (*steps[0], *steps[1], *steps[2], 1), (20, 21, 1)),
    ]
    packed = pack(pairs, "tree")
    # 3 of the question, 7 of the trunk, 1 of the edit (its first token is the trunk's), 3 of the incorrect solution
    assert packed.tokens == 3 + 7 + 1 + 3
    assert sorted(packed.lengths.tolist()) == [2, 2, 3, 7]
    # the step's tokens are scored once although the step pair and the full pair both hold them
    assert len(packed.score_target) == 7 + 1 + 3


def test_divergent_span_is_the_edit() -> None:
    pair = Pair("a", "p", True, None, (5, 6), (10, 11, 12, 13), (10, 98, 99, 12, 13))
    packed = pack([pair], "tree")
    spans = [packed.member_divergent[packed.member_completion == c].tolist() for c in (0, 1)]
    assert spans == [[False, True, False, False], [False, True, True, False, False]]


def test_a_model_without_attention_falls_back_with_a_word() -> None:
    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, state_size=4))
    add_scoring(model)
    assert supports_trees(model)
    assert supports_trees_of("llama") is None
    assert supports_trees_of("gemma3") is None


def supports_trees_of(family: str) -> str | None:
    model = build(family)
    add_scoring(model)
    return supports_trees(model)
