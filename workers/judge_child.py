"""The judge's child: ``python -m workers.judge_child LIMITS``. Judges one JSON line at a time under resource limits.

Ends when stdin closes. A memory error ends it after its answer: what it left half done cannot be trusted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict, replace
from typing import Any

from errata.answers import Judgement, judge
from errata.types import Domain, Problem, Verdict


def main() -> None:
    """Serve until stdin closes. What libraries print goes to stderr: stdout carries only our lines."""
    limits = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    memory = limits["memory_mb"] * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps({"ready": True}), file=out)
    for line in sys.stdin:
        _limit_cpu(limits["cpu_seconds"])
        judgement, healthy = _judge(json.loads(line), limits["code"])
        print(json.dumps(asdict(judgement)), file=out)
        if not healthy:
            return


def _limit_cpu(seconds: float) -> None:
    """SIGXCPU after ``seconds`` more of CPU time: the parent's clock stands still when the machine does."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _judge(item: dict[str, Any], code: bool) -> tuple[Judgement, bool]:
    began = time.monotonic()
    try:
        judgement = judge(Problem(**item["problem"]), item["text"], Domain(item["domain"]), allow_code=code)
    except (MemoryError, RecursionError) as error:
        judgement = Judgement(Verdict.TIMEOUT, None, "judge/limits", type(error).__name__)
    healthy = judgement.verifier != "judge/limits"
    return replace(judgement, seconds=time.monotonic() - began), healthy


if __name__ == "__main__":
    main()
