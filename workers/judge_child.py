"""The judge's child process: JSON lines in, one JSON line per item out. Meant to be killed.

Started as ``python -m workers.judge_child SECONDS MEMORY_MB ALLOW_CODE``. Limits its own memory, and before each item
its own CPU and wall time (a signal whose default action ends the process, even inside C code). Besides replies it says
that it is ready, and when it loads sympy: neither is an answer's fault. It ends when stdin does, so it never outlives
its parent by more than one item.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from errata.answers import CodeExecutionDisabled, judge
from errata.answers.symbolic import on_load
from errata.types import Domain, Problem, Verdict

LOAD_SECONDS = 60


def _limit_memory(memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    # No core file of gigabytes for an answer that breaks the limit.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_item(seconds: int) -> None:
    """This item's CPU and wall time; the parent's clock usually strikes first."""
    # RLIMIT_CPU counts the process's whole life, so each item's share is laid on top of what is used.
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds + 2, hard))
    signal.alarm(seconds + 3)


def _judge(item: dict[str, Any], allow_code: bool) -> dict[str, Any]:
    problem = Problem(item["question"], item["gold"], meta=item["meta"])
    try:
        judged = judge(problem, item["text"], Domain(item["domain"]), allow_code=allow_code)
    except MemoryError:
        os._exit(1)  # what is left of this process is not to be trusted with the next item
    except CodeExecutionDisabled as error:
        return {"disabled": str(error)}
    except Exception as error:  # sympy raises anything; RecursionError too
        return {"verdict": Verdict.UNPARSABLE, "report": f"{type(error).__name__}: {error}"[:300]}
    return {
        "verdict": judged.verdict,
        "extracted": judged.extracted,
        "verifier": judged.verifier,
        "report": judged.report,
    }


def main() -> None:
    """Judge batches until stdin ends."""
    seconds, memory_mb, allow_code = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1"
    replies = sys.stdout
    sys.stdout = sys.stderr  # nothing that a library prints may look like a reply
    _limit_memory(memory_mb)

    def say(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    def loading(state: str) -> None:
        _limit_item(seconds if state == "loaded" else LOAD_SECONDS)
        say({"state": state})

    on_load(loading)
    say({"state": "ready"})
    for line in sys.stdin:
        for item in json.loads(line):
            _limit_item(seconds)
            say(_judge(item, allow_code))
        signal.alarm(0)  # waiting for the next batch is nobody's time


if __name__ == "__main__":
    main()
