"""The miniature through our vLLM engine on a GPU: ``python -m bench.gpu_vllm``; prints tokens per second as JSON."""

from __future__ import annotations

import time
from pathlib import Path

from bench.service import report
from demo.problems import generate
from errata.prompts import solve_prompt
from workers.engines.base import GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool

MODEL = Path(__file__).resolve().parents[1] / "demo/model"


def main() -> None:
    """Generate 512 solutions twice; the second time counts."""
    requests = [GenerationRequest(solve_prompt(p.question), seed=at, max_tokens=160)
                for at, p in enumerate(generate(count=512, seed=11))]  # fmt: skip
    pool = EnginePool()
    try:
        model = ModelSpec("m", "vllm", {"path": str(MODEL), "gpu_memory_utilization": 0.3})
        pool.generate(model, requests)
        began = time.monotonic()
        completions = [c for row in pool.generate(model, requests) for c in row]
        seconds = time.monotonic() - began
    finally:
        pool.close()
    tokens = sum(c.completion_tokens for c in completions)
    ended = sum(c.finish_reason == "stop" for c in completions) / len(completions)
    report({"benchmark": "gpu_vllm", "tokens_per_second": round(tokens / seconds), "ended": round(ended, 3)})


if __name__ == "__main__":
    main()
