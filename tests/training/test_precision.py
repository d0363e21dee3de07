"""The type a run computes in: one for every pass, so that an untouched model is its own reference, to the last bit."""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import make_dataset, make_model, make_rows
from tests.training.test_processes import in_two_processes
from tests.training.test_run import make_spec, run
from workers.training.config import TrainingConfig, resolve
from workers.training.protocol import CannotTrain
from workers.training.run import loading, scoring
from workers.training.run.data import Pair
from workers.training.run.reference import reference_fingerprint

UNTOUCHED = torch.tensor(4.0).log().item()  # two terms, each at a margin of 0
Q_AND_V = {"r": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj"]}


def assert_untouched(values: dict[str, Any]) -> None:
    """What the first step (at a learning rate of 0) says of a model that is its own reference."""
    assert values["loss"] == UNTOUCHED
    for name in ("margin", "step/gate", "full/margin", "full/reward_chosen", "step/reward_rejected"):
        assert values[name] == 0.0


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> set[tuple[bool, bool]]:
    """Of every forward pass: whether it is for gradients, and whether under autocast."""
    seen: set[tuple[bool, bool]] = set()
    load = loading.load_model

    def load_watched(folder: Path, config: TrainingConfig) -> Any:
        model = load(folder, config)
        model.lm_head.register_forward_pre_hook(
            lambda *_: seen.add((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        )
        return model

    monkeypatch.setattr(loading, "load_model", load_watched)
    monkeypatch.setattr(scoring, "require_own_logps", lambda _: None)  # trials are in the type of the weights
    monkeypatch.setattr(scoring, "supports_trees", lambda _: None)
    return seen


@pytest.mark.parametrize("preset", ["errata", "paper"])
def test_every_pass_in_bfloat16_is_under_one_autocast(
    preset: str, passes: set[tuple[bool, bool]], tmp_path: Path
) -> None:
    """On a processor too: the presets of the paper compute in bfloat16."""
    spec = make_spec(tmp_path, preset=preset, dtype="bfloat16", grouping="problem", epochs=1, best="eval_loss")
    source = spec.dataset_folder / "steps_and_full" / "train.jsonl"
    source.with_name("test.jsonl").write_bytes(source.read_bytes())
    recorder = run(spec)
    assert passes == {(True, True), (False, True)}
    assert_untouched(recorder.of("metrics")[0]["values"])
    assert recorder.of("finished")


def test_adapters_in_bfloat16_start_where_their_reference_is(tmp_path: Path) -> None:
    """With the reference's batches, since a type this coarse rounds each layout of a batch in its own way."""
    spec = make_spec(tmp_path, dtype="bfloat16", lora=Q_AND_V, batch_size=32, micro_batch=16, max_steps=2)
    assert_untouched(run(spec).of("metrics")[0]["values"])


def test_accelerates_environment_changes_nothing(
    passes: set[tuple[bool, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(make_spec(tmp_path, "plain"))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    told = run(make_spec(tmp_path, "told"))
    assert passes == {(True, False), (False, False)}
    assert told.of("metrics") == plain.of("metrics")


def test_a_device_without_bfloat16_is_refused_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.amp.autocast_mode, "is_autocast_available", lambda _: False)
    with pytest.raises(CannotTrain, match="no bfloat16: set dtype to 'float32'"):
        run(make_spec(tmp_path, dtype="bfloat16"))


def test_references_are_told_apart_by_how_weights_are_held() -> None:
    pairs = [Pair("a", "x", True, None, (5, 6), (7,), (8,))]
    loras = [None, Q_AND_V, {**Q_AND_V, "quantize_4bit": True}]
    names = {
        (dtype, at): reference_fingerprint("model", pairs, resolve("errata", {"dtype": dtype, "lora": lora}))
        for dtype, (at, lora) in product(("float32", "bfloat16"), enumerate(loras))
    }
    assert names["float32", 0] == names["float32", 1], "an adapter alone leaves float32 weights as they are"
    assert len(set(names.values())) == len(names) - 1


@pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is among the test tools on Linux")
def test_weights_in_4_bits_have_a_reference_of_their_own(tmp_path: Path) -> None:
    make_model(tmp_path / "base", width=64)  # its kernels for processors take no narrower layers
    make_dataset(tmp_path / "dataset", make_rows())
    run(make_spec(tmp_path, "full", max_steps=1))
    after = run(make_spec(tmp_path, "after", max_steps=2, lora={**Q_AND_V, "quantize_4bit": True}))
    assert [message for message in after.of("progress") if message["phase"] == "reference"]
    assert_untouched(after.of("metrics")[0]["values"])


@pytest.mark.slow
@pytest.mark.parametrize("launch", [pytest.param("ddp-cpu", marks=pytest.mark.long), "fsdp-cpu"])
def test_two_processes_compute_in_bfloat16_as_one(launch: str, tmp_path: Path) -> None:
    options = {"dtype": "bfloat16", "max_steps": 3}
    told = [m["values"] for m in in_two_processes(make_spec(tmp_path, "two", **options), tmp_path, launch=launch)
            if m["type"] == "metrics"]  # fmt: skip
    assert_untouched(told[0])
    whole, coarse = (
        [m["values"]["loss"] for m in run(make_spec(tmp_path, name, **{**options, "dtype": dtype})).of("metrics")]
        for name, dtype in (("whole", "float32"), ("coarse", "bfloat16"))
    )
    assert math.isclose(told[2]["loss"], coarse[2], rel_tol=1e-5)
    assert not math.isclose(told[2]["loss"], whole[2], rel_tol=1e-5), "it was not computed in bfloat16"
