"""Where the tests of this folder compute: on a GPU, or by ``ERRATA_GPU_DEVICE=cpu`` on a processor, to try them."""

from __future__ import annotations

import os

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
