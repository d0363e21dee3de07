"""Judges one answer per line of JSON on standard input: the verifier beside this file, in a process of its own."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

MEMORY = 2 << 30


def main() -> None:
    """Read lines until there are no more; answer each with its verdict."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from errata.answers import judge
    from errata.types import Domain, Problem

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        asked = json.loads(line)
        problem = Problem(asked["question"], asked["gold_answer"], meta=json.loads(asked["meta"]))
        try:
            # Code runs only where lm-eval was told so (its --confirm_run_unsafe_code).
            verdict = str(judge(problem, asked["text"][-200_000:], Domain(asked["domain"]), allow_code=True).verdict)
        except (MemoryError, RecursionError):
            verdict = "timeout"
        sys.stdout.write(json.dumps({"verdict": verdict}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
