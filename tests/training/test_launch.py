"""Shipped accelerate configurations, what the trainer refuses before it starts, and packages that are not there."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import FullyShardedDataParallelPlugin
from pydantic import ValidationError
from safetensors.torch import load_file

from tests.training.conftest import make_dataset, make_model, make_rows
from tests.training.test_run import make_spec, run, weights
from workers.training.protocol import SHARDING_VARIABLE, CannotTrain
from workers.training.run import loading
from workers.training.run.checkpoints import checkpoint_name
from workers.training.supervise.launch import FOLDER, check, command, config_file, launcher, shipped, visible_gpus
from workers.training.supervise.settings import TrainerSettings

KINDS = {"ddp": "MULTI_GPU", "ddp-cpu": "MULTI_CPU", "fsdp": "FSDP", "fsdp-cpu": "FSDP"}


def test_every_shipped_configuration_is_known() -> None:
    assert shipped() == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_shipped_configurations_parse(name: str) -> None:
    loaded = load_config_from_file(str(config_file(name)))
    assert isinstance(loaded, ClusterConfig)
    assert (loaded.distributed_type.name, loaded.num_processes, loaded.num_machines) == (KINDS[name], 2, 1)
    assert loaded.mixed_precision == "no", "a run's dtype decides"


def test_the_shards_are_what_they_say() -> None:
    loaded: Any = load_config_from_file(str(config_file("fsdp")))
    options = {key.removeprefix("fsdp_"): value for key, value in loaded.fsdp_config.items()}
    options |= {"cpu_offload": options.pop("offload_params"), "fsdp_version": options.pop("version")}
    plugin = FullyShardedDataParallelPlugin(**options)
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"


def test_deepspeed_is_refused_before_the_trainer_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "zero3.yaml"
    own.write_text("distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config:\n  zero_stage: 3\n")
    monkeypatch.setenv("ERRATA_TRAINER_ACCELERATE_CONFIG", str(own))
    with pytest.raises(ValidationError, match=r"zero3.yaml shards the model by DeepSpeed.*use 'fsdp'"):
        TrainerSettings()
    with pytest.raises(ValueError, match="shards the model"):
        check(own, gpus=8)


def test_what_is_asked_of_shards_is_done_or_refused(tmp_path: Path) -> None:
    line, environment = launcher(config_file("fsdp"))
    assert {"torch.distributed.run", "--nproc_per_node=2", "--standalone"} < set(line)
    assert environment == {SHARDING_VARIABLE: '{"reshard_after_forward": true}'}
    assert launcher(config_file("fsdp-cpu"))[1] == {**environment, "ACCELERATE_USE_CPU": "true"}
    check(config_file("fsdp-cpu"), gpus=0)
    with pytest.raises(ValueError, match=r"fsdp.yaml wants 2 GPUs on this host, and there are 1"):
        check(config_file("fsdp"), gpus=1)
    own = tmp_path / "own.yaml"
    two = "fsdp_version: 2\n  "
    refused = {"fsdp_version: 1": "set it to 2", "fsdp_offload_params: false": "fsdp_version.*set it to 2",
               two + "fsdp_offload_params: true": "fsdp_offload_params.*set it to false",
               two + "fsdp_activation_checkpointing: true": "fsdp_activation_checkpointing.*set it to false",
               two + "fsdp_auto_wrap_policy: SIZE_BASED_WRAP": "set it to \"TRANSFORMER_BASED_WRAP\"",
               two + "fsdp_transformer_layer_cls_to_wrap: Block": "leave it out"}  # fmt: skip
    for options, why in refused.items():
        own.write_text(f"distributed_type: FSDP\nnum_processes: 2\nfsdp_config:\n  {options}\n")
        with pytest.raises(ValueError, match=why):
            check(own, gpus=8)


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert visible_gpus() == 1
    with pytest.raises(ValidationError, match=r"ddp.yaml wants 2 GPUs on this host, and there are 1"):
        TrainerSettings(accelerate_config=Path("ddp"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert TrainerSettings(accelerate_config=Path("ddp")).accelerate_config == FOLDER / "ddp.yaml"
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == 0


def test_names_and_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ERRATA_TRAINER_ACCELERATE_CONFIG", "ddp-cpu")
    line, _ = command(TrainerSettings().accelerate_config, 0, tmp_path / "spec.json")
    assert {"torch.distributed.run", "--nproc_per_node=2", "--standalone"} < set(line)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    line, _ = command(TrainerSettings(accelerate_config=Path("ddp")).accelerate_config, 0, tmp_path / "spec.json")
    assert line[line.index("--config_file") + 1] == str(FOLDER / "ddp.yaml")
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_CPU\nnum_processes: 4\n")
    assert TrainerSettings(accelerate_config=own).accelerate_config == own
    bad = {"distributed_type: TPU": "known are", "- 1": "no configuration", "a: [": "cannot be read",
           "distributed_type: MULTI_GPU\nnum_processes: x": "num_processes must be"}  # fmt: skip
    for text, why in bad.items():
        own.write_text(text)
        with pytest.raises(ValidationError, match=why):
            TrainerSettings(accelerate_config=own)
    with pytest.raises(ValidationError, match="one of ddp, ddp-cpu, fsdp, fsdp-cpu"):
        TrainerSettings(accelerate_config=tmp_path / "absent.yaml")
    monkeypatch.setenv("ERRATA_TRAINER_ACCELERATE_CONFIG", "")
    assert TrainerSettings().accelerate_config is None


@pytest.mark.parametrize("asked", ["bf16", "fp16", "fp8"])
@pytest.mark.parametrize("kind", ["MULTI_CPU", "MULTI_GPU", "FSDP\nfsdp_config:\n  fsdp_version: 2"])
def test_mixed_precision_is_a_runs_to_decide(asked: str, kind: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"mixed_precision: {asked}\nnum_processes: 2\ndistributed_type: {kind}\n")
    with pytest.raises(ValueError, match=rf"own.yaml has mixed_precision '{asked}'.*a run's dtype decides.*'no'"):
        check(own, gpus=8)


@pytest.mark.parametrize("line", ["mixed_precision: 'no'", "mixed_precision: no", "mixed_precision: null", ""])
def test_none_is_none_however_it_is_written(line: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"distributed_type: MULTI_CPU\nnum_processes: 2\n{line}\n")
    check(own, gpus=0)


def test_several_machines_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\nnum_machines: 2\n")
    with pytest.raises(ValueError, match=r"own.yaml has num_machines 2.*own field `hosts`: set it to 1"):
        check(own, gpus=8)


def test_what_is_shipped_asks_for_neither() -> None:
    for name in shipped():
        check(config_file(name), gpus=8)


LACKING = [
    ({"lora": {"quantize_4bit": True}}, "bitsandbytes"),
    ({"report_to": ["wandb"]}, "wandb"),
    ({"report_to": ["tensorboard"]}, "tensorboard"),
    ({"report_to": ["mlflow"]}, "mlflow"),
]


@pytest.mark.parametrize(("options", "package"), LACKING, ids=[package for _, package in LACKING])
def test_a_package_that_is_not_there_is_named(
    options: dict[str, Any], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == package else find_spec(name))
    spec = make_spec(tmp_path, **options)
    with pytest.raises(CannotTrain, match=f"needs the package {package}"):
        run(spec)
    assert not spec.checkpoints.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is among the test tools on Linux")
def test_qlora(tmp_path: Path) -> None:
    """4-bit base weights, an adapter that learns, resumes exactly, and is merged into the weights as they were."""
    make_model(tmp_path / "base", width=64)  # its kernels for processors take no narrower layers
    make_dataset(tmp_path / "dataset", make_rows())
    lora = {"r": 4, "alpha": 8, "quantize_4bit": True, "target_modules": ["q_proj", "v_proj"]}
    whole, broken = (make_spec(tmp_path, name, lora=lora, epochs=2) for name in ("whole", "broken"))
    unbroken = run(whole).of("metrics")
    assert unbroken[-1]["values"]["loss"] < unbroken[0]["values"]["loss"]
    stopped = run(broken, stop_at=2).of("metrics")
    assert (broken.checkpoints / checkpoint_name(3) / "adapter_model.safetensors").is_file()
    resumed = run(broken)
    assert resumed.of("resumed")[0]["step"] == 3
    assert stopped + resumed.of("metrics") == unbroken
    assert all(torch.equal(weights(whole)[name], weights(broken)[name]) for name in weights(whole))
    base = load_file(tmp_path / "base" / "model.safetensors")
    assert weights(whole).keys() == base.keys()
    changed = {name for name in base if not torch.equal(base[name], weights(whole)[name])}
    assert changed
    assert all("q_proj" in name or "v_proj" in name for name in changed)
    assert "quantization_config" not in json.loads((whole.output / "config.json").read_text())


def test_tensorboard(tmp_path: Path) -> None:
    """TRL's own integration writes every figure of every step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = make_spec(tmp_path, report_to=["tensorboard"])
    told = {m["step"]: m["values"]["loss"] for m in run(spec).of("metrics")}
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    seen = {event.step: event.value for event in events.Scalars("train/loss")}
    assert seen == pytest.approx(told, rel=1e-6)
    assert "train/step/margin" in events.Tags()["scalars"]
