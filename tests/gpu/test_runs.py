"""Training runs on the device: they compute what a processor does, stop, resume, and get by with less memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.gpu.conftest import DEVICE
from tests.lacking import lacking
from tests.training.conftest import make_dataset, make_model, make_rows
from tests.training.test_run import make_spec, messages, run, weights
from workers.training.protocol import RunSpec

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]
LORA = {"r": 4, "alpha": 8, "dropout": 0.1}
OPTIONS = {"epochs": 4, "nll_weight": 1.0, "nll_gate": False, "learning_rate": 1e-3}
VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "pairs": {"packing": "pairs"},
    "bfloat16": {"dtype": "bfloat16"},
    "checkpointing": {"gradient_checkpointing": True},
    "lora": {"lora": LORA},
    "lora-bfloat16": {"lora": LORA, "dtype": "bfloat16"},
    "flex": {"attention": "flex", "dtype": "bfloat16"},
    "qlora": {"lora": {**LORA, "quantize_4bit": True}, "dtype": "bfloat16"},
}
NEEDS_A_GPU = ("flex", "qlora")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base model and dataset. Heads of 32 numbers: FlexAttention takes none below 16."""
    folder = tmp_path_factory.mktemp("gpu")
    make_model(folder / "base", width=64)
    make_dataset(folder / "dataset", make_rows())
    return folder


def computed_on_cpu(spec: RunSpec, folder: Path) -> list[dict[str, Any]]:
    """What a run on the processor says, in a process that sees no GPU. Nobody renews a lease here."""
    path, log = folder / f"{spec.run_id}.json", folder / f"{spec.run_id}.log"
    path.write_text(spec.model_copy(update={"lease_seconds": 3600.0}).model_dump_json())
    line = [sys.executable, "-m", "workers.training.run", "--spec", str(path)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "4"}
    with (
        log.open("w") as errors,
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                         env=environment) as process,
    ):  # fmt: skip
        said = list(messages(process))
    assert process.returncode == 0, f"last said: {said[-3:]}\n{log.read_text()[-5000:]}"
    return said


@pytest.fixture(scope="module")
def on_cpu(folder: Path) -> Callable[[bool], list[float]]:
    """The losses of the plain run on the processor in float32, with an adapter or without; computed once each."""

    @cache
    def computed(adapter: bool) -> list[float]:
        options = {**OPTIONS, **({"lora": LORA} if adapter else {})}
        return losses(computed_on_cpu(make_spec(folder, f"cpu-{adapter}", **options), folder))

    return computed


def losses(said: list[dict[str, Any]]) -> list[float]:
    return [m["values"]["loss"] for m in said if m["type"] == "metrics"]


def available(name: str, request: pytest.FixtureRequest) -> None:
    """Skip what this machine cannot do."""
    if name in NEEDS_A_GPU:
        request.getfixturevalue("gpu")
    if name == "qlora" and find_spec("bitsandbytes") is None:
        lacking("bitsandbytes is not installed")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_computes_what_a_processor_computes(
    name: str,
    device: torch.device,
    folder: Path,
    on_cpu: Callable[[bool], list[float]],
    request: pytest.FixtureRequest,
) -> None:
    """The first loss: the same arithmetic. The last: the same training, within what the type rounds."""
    available(name, request)
    variant = VARIANTS[name]
    mine = losses(run(make_spec(folder, f"{name}-device", **OPTIONS, **variant)).said)
    theirs = on_cpu("lora" in variant)
    rounded = variant.get("dtype") == "bfloat16"
    assert len(mine) == len(theirs) > 8
    assert mine[-1] < mine[0]
    if "lora" in variant:  # dropout of an adapter draws from the device's own generator
        assert mine[0] == pytest.approx(theirs[0], rel=0.1)
        assert mine[-1] == pytest.approx(theirs[-1], rel=0.3)
    else:
        assert mine[0] == pytest.approx(theirs[0], rel=2e-2 if rounded else 1e-4)
        assert mine[-1] == pytest.approx(theirs[-1], rel=0.1 if rounded else 1e-2)


@pytest.mark.parametrize("name", ["float32", "lora-bfloat16", "flex"])
def test_stopped_and_resumed_is_unbroken(
    name: str, device: torch.device, folder: Path, request: pytest.FixtureRequest
) -> None:
    """Bit for bit on a processor. A GPU adds gradients of shared tokens in any order: there within rounding."""
    available(name, request)
    whole, broken = (make_spec(folder, f"{name}-{part}", **OPTIONS, **VARIANTS[name]) for part in ("whole", "broken"))
    unbroken, said = run(whole).said, run(broken, stop_at=3).said
    assert said[-1]["type"] == "stopped"
    again = run(broken).said
    assert [m["step"] for m in again if m["type"] == "resumed"] == [said[-1]["step"]]
    together = losses(said) + losses(again)
    assert together == pytest.approx(losses(unbroken), rel=0 if device.type == "cpu" else 2e-2)
    apart = torch.cat([(weights(whole)[n].float() - weights(broken)[n].float()).flatten() for n in weights(whole)])
    norm = torch.cat([w.float().flatten() for w in weights(whole).values()]).norm()
    assert apart.norm() / norm <= (0 if device.type == "cpu" else 1e-3)


def test_two_runs_differ_by_rounding_alone(device: torch.device, folder: Path) -> None:
    one, two = (make_spec(folder, f"again-{n}", **OPTIONS) for n in range(2))
    assert losses(run(one).said) == pytest.approx(losses(run(two).said), rel=1e-4)
    assert load_file(one.output / "model.safetensors").keys() == load_file(two.output / "model.safetensors").keys()


def test_a_gpu_that_is_too_small_halves_the_micro_batch(gpu: torch.device, folder: Path) -> None:
    """The GPU's own allocator refuses: it is held to a share of its memory that one pass does not fit."""
    wide = folder / "wide"
    if not wide.exists():
        make_model(wide, width=512)
    options = {**OPTIONS, "batch_size": 32, "micro_batch": 32, "epochs": 2, "packing": "pairs"}
    spec = make_spec(folder, "narrow", **options).model_copy(update={"model_path": str(wide)})
    total = torch.cuda.get_device_properties(gpu).total_memory
    # Weights, gradients and moments take 70 MB here; a pass of 64 completions of 100 tokens several hundred.
    share = 300e6 / total
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved() / total
    torch.cuda.set_per_process_memory_fraction(held + share)
    try:
        said = run(spec).said
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    shrunk = [m for m in said if m["type"] == "shrunk"]
    assert shrunk, "a pass of 32 pairs fitted"
    assert losses(said)[-1] < losses(said)[0]


def test_the_device_is_the_one_asked_for(device: torch.device) -> None:
    assert device.type == DEVICE
