"""Where the tests of this folder compute: on a GPU, or by ``ERRATA_GPU_DEVICE=cpu`` on a processor, to try them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from tests.lacking import lacking

DEVICE = os.environ.get("ERRATA_GPU_DEVICE", "cuda")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device of these tests. They fail where it is to be a GPU and there is none."""
    if DEVICE == "cuda" and not torch.cuda.is_available():
        lacking("a GPU: run `make gpu-check` where one is")
    # What is compared with a processor is compared at full precision.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(DEVICE)


@pytest.fixture
def gpu(device: torch.device) -> torch.device:
    """A device that is a GPU: for what does not run elsewhere."""
    if device.type != "cuda":
        pytest.skip("runs on a GPU only")
    return device


@pytest.fixture(autouse=True)
def _fused() -> Iterator[None]:
    """FlexAttention fails here where Dynamo would run it unfused: it gives up compiling without an error otherwise.

    What earlier tests compiled is forgotten: each test stands for a process of its own, as a training run is.
    """
    torch._dynamo.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=8):
        yield
