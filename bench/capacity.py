"""A model of throughput and cost: ``python -m bench.capacity [--constants FILE] [--json]``.

Jobs are a closed queueing network. Each worker carries shards around one by one; a shard visits stations: the workers'
processors, the database, the broker, the engine's GPUs. Throughput is by exact mean value analysis (Reiser and
Lavenberg 1980); a station of several servers counts as one fast server and a delay (Seidmann et al. 1987). What a
station costs per shard are measured constants (``bench.capacity_check`` prints them; docs/scale.md has a set).

What a GPU does per second is an estimate from its data sheet, not a measurement, unless ``--tokens-per-second`` gives
one. The model knows no failures, no network that is slower than a local one, and no waiting for a provider's limits.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

GIB = 2**30


@dataclass(frozen=True)
class Station:
    """A place that shards queue at. ``demand``: seconds of one of its ``servers`` per shard."""

    name: str
    servers: float
    demand: float

    @property
    def most(self) -> float:
        """Shards per second at which it saturates."""
        return math.inf if self.demand <= 0 else self.servers / self.demand


@dataclass(frozen=True)
class Constants:
    """What one shard costs, measured, and what a pair takes. Seconds are of one core."""

    problems_per_shard: float
    pairs_per_shard: float
    worker_seconds: float
    database_seconds: float
    broker_seconds: float
    other_seconds: float
    """API, sweeper and metrics, which run beside the workers."""
    alone_seconds: float
    """Wall-clock seconds a shard takes while it has every station to itself."""
    start_seconds: float
    """From posting a job to its first shard, and from its last shard to its end."""
    transactions: float
    broker_commands: float
    database_bytes_per_pair: float

    @property
    def processor_seconds(self) -> float:
        """All of it: what one machine that runs every role has to give."""
        return self.worker_seconds + self.database_seconds + self.broker_seconds + self.other_seconds

    @property
    def waiting_seconds(self) -> float:
        """What of a lone shard's time is no processor's: disks, the network, timers."""
        return max(0.0, self.alone_seconds - self.processor_seconds)


#: As measured on the machine of docs/scale.md; a user's own: bench.capacity_check --json.
MEASURED = Constants(
    problems_per_shard=8,
    pairs_per_shard=20.0,
    worker_seconds=0.20,
    database_seconds=0.04,
    broker_seconds=0.002,
    other_seconds=0.01,
    alone_seconds=0.30,
    start_seconds=1.0,
    transactions=20.0,
    broker_commands=40.0,
    database_bytes_per_pair=4000.0,
)


def throughput(customers: int, stations: Sequence[Station], delay: float) -> float:
    """Shards per second with ``customers`` shards on their way, which spend ``delay`` seconds nowhere each."""
    queues = [0.0] * len(stations)
    single = [each.demand / each.servers for each in stations]
    parallel = delay + sum(each.demand * (each.servers - 1) / each.servers for each in stations)
    rate = 0.0
    for count in range(1, customers + 1):
        seconds = [demand * (1 + queue) for demand, queue in zip(single, queues, strict=True)]
        rate = count / (parallel + sum(seconds))
        queues = [rate * each for each in seconds]
    return rate


def one_machine(constants: Constants, workers: int, cores: float) -> float:
    """Shards per second where every role shares the cores of one machine; each worker has one shard at a time."""
    station = Station("processors", cores, constants.processor_seconds)
    return throughput(workers, [station], constants.waiting_seconds)


def job_seconds(constants: Constants, shards: float, rate: float) -> float:
    """A job's wall-clock seconds at this rate, from its posting to its end."""
    return constants.start_seconds + shards / rate


@dataclass(frozen=True)
class Gpu:
    """A card by its data sheet, and the shares of it that serving reaches. Defaults: NVIDIA H100 SXM, bfloat16."""

    name: str = "H100 SXM"
    bytes_per_second: float = 3.35e12
    flops: float = 989e12
    memory: float = 80e9
    bandwidth_share: float = 0.6
    flops_share: float = 0.4


@dataclass(frozen=True)
class Model:
    """A language model's size. ``cache_bytes``: keys and values of one token, in bytes."""

    name: str
    parameters: float
    cache_bytes: float
    gpus: int = 1
    bytes_per_parameter: float = 2.0


#: Shapes from the models' published configurations: layers x 2 x key-value heads x head size x 2 bytes.
MODELS = {
    "7b": Model("Qwen2.5-7B", 7.6e9, 28 * 2 * 4 * 128 * 2),
    "72b": Model("Qwen2.5-72B", 72.7e9, 80 * 2 * 8 * 128 * 2, gpus=4),
}


def decoding_rate(model: Model, gpu: Gpu, batch: int, context: float) -> float:
    """Generated tokens per second of one replica (``model.gpus`` cards) that decodes ``batch`` sequences at once.

    A step reads all weights and every sequence's cache, or computes; the slower of both counts. An estimate.
    """
    weights = model.parameters * model.bytes_per_parameter
    room = (0.9 * gpu.memory * model.gpus - weights) / (model.cache_bytes * context)
    if room < 1:
        raise ValueError(f"{model.name} does not fit on {model.gpus} x {gpu.name}: give it more GPUs")
    batch = min(batch, int(room))
    read = (weights + batch * context * model.cache_bytes) / (gpu.bytes_per_second * gpu.bandwidth_share)
    computed = 2 * model.parameters * batch / (gpu.flops * gpu.flops_share)
    return batch / (max(read, computed) / model.gpus)


def prompt_rate(model: Model, gpu: Gpu) -> float:
    """Prompt tokens per second that one replica computes: two operations per parameter and token. An estimate."""
    return gpu.flops * gpu.flops_share * model.gpus / (2 * model.parameters)


@dataclass(frozen=True)
class Use:
    """What a job asks of a model per pair, and how it is served."""

    generated_per_pair: float = 400.0
    prompt_per_pair: float = 300.0
    """Prompt tokens that are computed: those the prefix cache holds cost nothing."""
    batch: int = 256
    context: float = 800.0
    tokens_per_second: float | None = None
    """Generated tokens per second of one replica, where it was measured."""
    price: float | None = None
    """Of one GPU for an hour, in any currency."""


def gpu_seconds_per_pair(model: Model, gpu: Gpu, use: Use) -> float:
    """Seconds of one GPU per pair, over all cards of a replica."""
    rate = use.tokens_per_second or decoding_rate(model, gpu, use.batch, use.context)
    seconds = use.generated_per_pair / rate + use.prompt_per_pair / prompt_rate(model, gpu)
    return seconds * model.gpus


def plan(model: Model, gpu: Gpu, use: Use, constants: Constants, cluster: Mapping[str, float]) -> dict[str, Any]:
    """Rates and costs of a cluster: ``replicas`` of the engine, cores of ``workers`` and ``database``, one broker.

    ``limit``: the station that saturates first. ``saturates``: pairs per second at which each would. The engine's is
    what it gives with full batches: they assume as many shards on their way as it takes to fill them.
    """
    per_pair = gpu_seconds_per_pair(model, gpu, use)
    pairs = constants.pairs_per_shard
    stations = [
        Station("engine", cluster["replicas"], per_pair / model.gpus * pairs),
        Station("workers", cluster["worker_cores"], constants.worker_seconds),
        Station("database", cluster["database_cores"], constants.database_seconds),
        Station("broker", 1, constants.broker_seconds),
    ]
    limit = min(stations, key=lambda each: each.most)
    rate = limit.most
    return {
        "model": model.name,
        "gpu": gpu.name,
        "gpu_seconds_per_1000_pairs": round(1000 * per_pair, 1),
        "cost_per_1000_pairs": None if use.price is None else round(1000 * per_pair / 3600 * use.price, 3),
        "pairs_per_second": round(rate * pairs, 2),
        "limit": limit.name,
        "saturates": {each.name: round(each.most * pairs, 1) for each in stations},
        "busy": {each.name: round(rate / each.most, 3) for each in stations},
        "database_transactions_per_second": round(rate * constants.transactions, 1),
        "broker_commands_per_second": round(rate * constants.broker_commands, 1),
        "database_gib_per_million_pairs": round(1e6 * constants.database_bytes_per_pair / GIB, 2),
        "workers_to_fill": workers_to_fill(constants, rate),
    }


def workers_to_fill(constants: Constants, rate: float) -> int:
    """Worker cores without which the rate is not reached, whatever the engine gives."""
    return math.ceil(rate * constants.worker_seconds)


def constants_of(file: Path | None) -> Constants:
    """Those of a file, as bench.capacity_check prints them, or MEASURED. Raises ValueError for what is none."""
    if file is None:
        return MEASURED
    found = json.loads(file.read_text(encoding="utf-8"))
    given = found.get("constants", found)
    names = {each.name for each in fields(Constants)}
    if set(given) != names:
        raise ValueError(f"{file} has not exactly these constants: {', '.join(sorted(names))}")
    return Constants(**given)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constants", type=Path, help="what bench.capacity_check --json printed on your machines")
    parser.add_argument("--model", choices=sorted(MODELS), help="one of them; default: each")
    parser.add_argument("--gpus", type=int, help="cards per replica")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--worker-cores", type=float, default=8)
    parser.add_argument("--database-cores", type=float, default=4)
    parser.add_argument("--tokens-per-second", type=float, help="measured, of one replica")
    parser.add_argument("--generated-per-pair", type=float, default=Use.generated_per_pair)
    parser.add_argument("--prompt-per-pair", type=float, default=Use.prompt_per_pair)
    parser.add_argument("--price", type=float, help="of one GPU for an hour")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    use = Use(
        generated_per_pair=args.generated_per_pair,
        prompt_per_pair=args.prompt_per_pair,
        tokens_per_second=args.tokens_per_second,
        price=args.price,
    )
    cluster = {
        "replicas": args.replicas,
        "worker_cores": args.worker_cores,
        "database_cores": args.database_cores,
    }
    try:
        constants = constants_of(args.constants)
        models = [replace(MODELS[name], gpus=args.gpus or MODELS[name].gpus) for name in MODELS]
        chosen = [each for name, each in zip(MODELS, models, strict=True) if args.model in (None, name)]
        plans = [plan(model, Gpu(), use, constants, cluster) for model in chosen]
    except (OSError, ValueError) as error:
        raise SystemExit(f"bench.capacity: {error}") from None
    if args.json:
        print(json.dumps({"benchmark": "capacity", "constants": asdict(constants), "plans": plans}))
        return
    for found in plans:
        print("\n".join(f"{name}: {value}" for name, value in found.items()) + "\n")


if __name__ == "__main__":
    main()
