"""The model of throughput and cost: against exact results of queueing theory, and its own bounds."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.capacity import (
    MEASURED,
    MODELS,
    Gpu,
    Station,
    Use,
    constants_of,
    decoding_rate,
    gpu_seconds_per_pair,
    one_machine,
    plan,
    throughput,
)

CLUSTER = {"replicas": 1, "worker_cores": 8, "database_cores": 4}


def repairman(customers: int, demand: float, delay: float) -> float:
    """Throughput of a closed queue before one server, by the sum over its states and not by recursion."""
    weights = [
        math.factorial(customers) / math.factorial(customers - n) * (demand / delay) ** n for n in range(customers + 1)
    ]
    return (1 - weights[0] / sum(weights)) / demand


@pytest.mark.parametrize("customers", [1, 2, 5, 20])
def test_one_server_is_as_the_exact_solution(customers: int) -> None:
    found = throughput(customers, [Station("only", 1, 0.3)], 0.7)
    assert found == pytest.approx(repairman(customers, 0.3, 0.7))


def test_balanced_stations_are_as_the_closed_form() -> None:
    # n customers at m equal stations without delay: n / (demand (n + m - 1)).
    stations = [Station(str(at), 1, 0.25) for at in range(4)]
    for customers in (1, 3, 10):
        assert throughput(customers, stations, 0.0) == pytest.approx(customers / (0.25 * (customers + 3)))


def test_throughput_grows_to_what_saturates_and_no_further() -> None:
    stations = [Station("worker", 4, 1.0), Station("database", 1, 0.1)]
    rates = [throughput(count, stations, 0.5) for count in (1, 2, 4, 8, 16, 200)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(1 / 1.6)
    assert rates[-1] == pytest.approx(4.0, rel=0.02)
    assert all(rate <= 4.0 for rate in rates)


def test_more_workers_than_cores_gain_only_what_waits() -> None:
    busy = replace(MEASURED, alone_seconds=MEASURED.processor_seconds)
    assert one_machine(busy, 1, 2) == pytest.approx(1 / busy.processor_seconds)
    assert one_machine(busy, 64, 2) <= 2 / busy.processor_seconds
    assert one_machine(busy, 64, 2) == pytest.approx(2 / busy.processor_seconds, rel=0.05)


def test_a_plan_names_what_limits() -> None:
    found = plan(MODELS["7b"], Gpu(), Use(), MEASURED, CLUSTER)
    assert found["limit"] == "engine"
    assert found["pairs_per_second"] == pytest.approx(found["saturates"]["engine"], rel=0.01)
    assert found["busy"]["engine"] == 1.0
    many = plan(MODELS["7b"], Gpu(), Use(), MEASURED, {**CLUSTER, "replicas": 1000})
    assert many["limit"] == "workers"
    assert many["gpu_seconds_per_1000_pairs"] == found["gpu_seconds_per_1000_pairs"]
    assert many["workers_to_fill"] == CLUSTER["worker_cores"]


def test_gpu_seconds_follow_the_tokens_and_the_measured_rate() -> None:
    use, gpu, model = Use(prompt_per_pair=0.0), Gpu(), MODELS["72b"]
    once = gpu_seconds_per_pair(model, gpu, use)
    assert gpu_seconds_per_pair(
        model, gpu, replace(use, generated_per_pair=2 * use.generated_per_pair)
    ) == pytest.approx(2 * once)
    measured = gpu_seconds_per_pair(model, gpu, replace(use, tokens_per_second=1000.0))
    assert measured == pytest.approx(use.generated_per_pair / 1000.0 * model.gpus)
    priced = plan(model, gpu, replace(use, tokens_per_second=1000.0, price=3.6), MEASURED, CLUSTER)
    assert priced["cost_per_1000_pairs"] == pytest.approx(measured, abs=1e-3)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="give it more GPUs"):
        decoding_rate(replace(MODELS["72b"], gpus=1), Gpu(), 256, 800)


def test_constants_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "constants.json"
    file.write_text(json.dumps({"constants": {**asdict(MEASURED), "worker_seconds": 1.5}}))
    assert constants_of(file).worker_seconds == 1.5
    file.write_text(json.dumps({"worker_seconds": 1.5}))
    with pytest.raises(ValueError, match="exactly these constants"):
        constants_of(file)
