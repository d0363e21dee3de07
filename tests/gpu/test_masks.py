"""Tree masks on the device: log-probabilities and gradients against plain pairs, by each attention and each type."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.training.test_tree import FAMILIES, SHAPE, make_pairs
from workers.training.run.loading import allow_flex_variants
from workers.training.run.packing import pack
from workers.training.run.scoring import add_scoring, completion_logps, supports_trees

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
#: FlexAttention's kernels take heads of at least 16 numbers.
WIDER = {**SHAPE, "hidden_size": 64, "intermediate_size": 128, "head_dim": 16}


def build(family: str, attention: str, dtype: torch.dtype, device: torch.device) -> Any:
    """A small model with random weights, the same each time."""
    model_class, config_class, extra = FAMILIES[family]
    torch.manual_seed(0)
    shape = {**extra, **WIDER, **({"num_hidden_layers": 7} if family == "gemma3" else {})}
    model = model_class(config_class(**shape, pad_token_id=0, eos_token_id=1, bos_token_id=None))
    model.set_attn_implementation(attention)
    add_scoring(model)
    return model.to(device=device, dtype=dtype)


def scored(model: Any, kind: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of every completion, and the gradient of their sum."""
    packed = pack(make_pairs(3, problems=3), kind).to(device)
    model.zero_grad(set_to_none=True)
    logps, _ = completion_logps(model, packed)
    (logps * torch.linspace(-1, 1, len(logps), device=device)).sum().backward()
    grads = torch.cat([p.grad.float().flatten() for p in model.parameters() if p.grad is not None])
    return logps.detach().float(), grads


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("attention", "dtype", "limit"),
    [
        ("sdpa", torch.float32, 1e-4),
        ("sdpa", torch.bfloat16, 4e-2),
        ("flex_attention", torch.float32, 1e-3),
        ("flex_attention", torch.bfloat16, 4e-2),
    ],
    ids=["sdpa-float32", "sdpa-bfloat16", "flex-float32", "flex-bfloat16"],
)
def test_trees_are_plain_pairs(
    family: str, attention: str, dtype: torch.dtype, limit: float, device: torch.device, request: pytest.FixtureRequest
) -> None:
    """Forward and backward. bfloat16 holds three digits, and sums of other lengths round otherwise."""
    if attention == "flex_attention":
        request.getfixturevalue("gpu")
        allow_flex_variants()
    plain = scored(build(family, "sdpa", torch.float32, device), "pairs", device)
    tree = scored(build(family, attention, dtype, device), "tree", device)
    assert supports_trees(build(family, attention, dtype, device)) is None
    for mine, theirs in zip(tree, plain, strict=True):
        assert ((mine - theirs).norm() / theirs.norm()).item() < limit


def test_flex_compiles_once_for_batches_of_other_sizes(gpu: torch.device) -> None:
    """A kernel per size would take longer to compile than the run takes to train. Dynamo's own limit does for sizes."""
    model = build("qwen2", "flex_attention", torch.bfloat16, gpu)
    counters = torch._dynamo.utils.counters
    counters.clear()
    for problems in (2, 3, 5, 7):
        packed = pack(make_pairs(3, problems=problems, seed=problems), "tree").to(gpu)
        completion_logps(model, packed)[0].sum().backward()
    assert 0 < counters["stats"]["unique_graphs"] <= 4, "the first size, any size"
