"""Loads this folder's problems for lm-eval, and scores answers with the verifier that Errata itself uses.

Needs lm-eval and mpmath. The verifier runs in a child process (judge.py), because hostile mathematics may hang or
exhaust memory: a text that takes longer than SECONDS is not correct and a ``timeout``, and the child is started anew.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
SECONDS = 10.0
START_SECONDS = 60.0


def problems(**_: Any) -> dict[str, Any]:
    """The problems as lm-eval's ``test`` split, from any working directory."""
    import datasets

    loaded = datasets.load_dataset("json", data_files={"test": str(FOLDER / "problems.jsonl")})
    return {"test": loaded["test"]}


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """The metrics of one answer: right or not, and whether no answer could be read or compared in time."""
    verdict = _judge.verdict(doc, results[0])
    names = ("unparsable", "timeout")
    return {"exact_match": float(verdict == "correct"), **{name: float(verdict == name) for name in names}}


class _Judge:
    """The child, started on first use."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def verdict(self, doc: dict[str, Any], text: str) -> str:
        child, limit = self._child, SECONDS
        if child is None or child.poll() is not None:
            command = [sys.executable, str(FOLDER / "judge.py")]
            child, limit = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE), START_SECONDS
            self._child = child
        assert child.stdin is not None
        assert child.stdout is not None
        names = ("question", "gold_answer", "domain", "meta")
        line = json.dumps({**{name: doc[name] for name in names}, "text": text})
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], limit)
        answer = child.stdout.readline() if ready else b""
        if not answer and child.poll() not in (None, 0) and limit == START_SECONDS:
            raise RuntimeError("the verifier does not start: see the error above (it needs the package mpmath)")
        if not answer:
            child.kill()
            child.wait()
            return "timeout"
        return str(json.loads(answer)["verdict"])


_judge = _Judge()
