"""What an accelerate configuration asks for that a run decides, or that trainers cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.training.launch import check, config_file, shipped


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
    with pytest.raises(ValueError, match=r"own.yaml has num_machines 2.*claims runs of its own.*set it to 1"):
        check(own, gpus=8)


def test_what_is_shipped_asks_for_neither() -> None:
    for name in set(shipped()) - {"zero3"}:  # that one is refused for what it is
        check(config_file(name), gpus=8)
