"""How much of the edit stage's prompts a prefix cache serves: ``python -m bench.prefix_cache [--json] [FILE]``.

A job edits brought GSM8K solutions of five steps or more, through the service and a real vLLM server with an empty
cache. ``ratio``: prompt tokens served from the cache by all prompt tokens of the edit stage, as stored with the job;
the server's own counters must say the same. ``ratio_paper``: the same job with the paper's layout of the prompt.

The model's weights are random (what it answers does not matter here, so replies are short) but its tokenizer is learnt
from the problems, so that prompts are about as long as for a real one; the context is 2,048 tokens.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import random_llama
from bench.service import Service, need_vllm, report, running, unwind_when_told
from demo import gsm8k
from errata.steps import split_steps
from errata.types import Domain
from tests.processes import ROOT
from tests.vllm_server import VllmServer

STEPS = 5
CONTEXT = 2048
COUNTERS = ("vllm:prompt_tokens_total", "vllm:prefix_cache_hits_total")


def default_file() -> Path:
    """In the folder that ERRATA_SHARED_DATA names, or in ``shared/data`` beside the checkout."""
    shared = Path(os.environ.get("ERRATA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    return shared / "gsm8k" / "model-solutions-400.jsonl"


def long_solutions(file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Problems with a correct solution of ``STEPS`` steps or more, and these solutions."""
    problems, solutions = gsm8k.read(file)
    chosen = [s for s in solutions if s["label"] and len(split_steps(s["text"], Domain.MATH)) >= STEPS]
    places = {place: at for at, place in enumerate(sorted({s["problem"] for s in chosen}))}
    return [problems[place] for place in places], [{**s, "problem": places[s["problem"]]} for s in chosen]


def measure(server: VllmServer, service: Service, problem_set: str, layout: str) -> dict[str, Any]:
    """Run the job with this layout on an empty cache. Raises RuntimeError where job and server disagree."""
    server.empty_cache()
    before = server.metrics()
    editing = {"layout": layout, "max_tokens": 16, "few_shot": 0, "fallback": []}
    config = {"sampling": {"source": "brought"}, "editing": editing, "shard_size": 32, "seed": 1}
    body = {"problem_set": problem_set, "language_model": "served", "preset": "errata", "config": config}
    _, [job] = service.run([body])
    after = server.metrics()
    spent = job["funnel"]["tokens"]["edit"]
    told = [int(after[name] - before[name]) for name in COUNTERS]
    if [spent["prompt"], spent["cached"]] != told:
        raise RuntimeError(f"the job stores {spent}, the server counts {dict(zip(COUNTERS, told, strict=True))}")
    return {
        "ratio": job["funnel"]["figures"]["cached_share_of_edit_prompt"],
        "solutions": job["funnel"]["samples"]["drawn"]["correct"],
        "edits": job["funnel"]["edits"]["total"],
        **spent,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=default_file(), help="as `errata demo --gsm8k` takes it")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, which it does anyway")
    args = parser.parse_args()
    need_vllm()
    unwind_when_told()
    problems, solutions = long_solutions(args.file)
    with ExitStack() as stack:
        model, home = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        everything = gsm8k.read(args.file)
        texts = [row["question"] for row in everything[0]] + [row["text"] for row in everything[1]]
        random_llama.save(model, texts, "1m", CONTEXT)
        server = stack.enter_context(VllmServer(model, max_model_len=CONTEXT, cache="512M"))
        service = stack.enter_context(running(home, embedded=True))
        service.add_model("served", {"base_url": server.url, "model": "served", "tokenizer": str(model)})
        problem_set = service.add_problems(problems, solutions)
        found = {layout: measure(server, service, problem_set, layout) for layout in ("errata", "paper")}
    result = {"benchmark": "prefix_cache", "problems": len(problems), "context": CONTEXT}
    result |= {"ratio": round(found["errata"].pop("ratio"), 3), "ratio_paper": round(found["paper"].pop("ratio"), 3)}
    report({**result, "detail": found})


if __name__ == "__main__":
    main()
