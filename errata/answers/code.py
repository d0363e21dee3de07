"""Verifier ``code``: a function in a code fence against ``Problem.meta["tests"]``, run in a guarded child process.

Off unless the operator turns it on. The child (errata.answers.code_child) runs as another user or in namespaces of its
own, without network where the kernel allows, under resource limits, in a scratch folder, with an empty environment.
That contains careless and runaway code; it is no defense against an attacker with a kernel exploit.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from errata.answers.extraction import READING, ReadingOptions, read_answer
from errata.answers.judgement import (
    MAX_ANSWER,
    CodeExecutionDisabled,
    Judgement,
    UnreadableReason,
    unparsable,
    unreadable,
)
from errata.types import Domain, Problem, Verdict

NAME = "code"
VERSION = "2"
SECONDS = 5
MEMORY_MB = 512
MAX_CODE = 50_000
_GRACE = 3
_CHILD = Path(__file__).with_name("code_child.py")
_VERDICTS = {
    "passed": Verdict.CORRECT,
    "failed": Verdict.INCORRECT,
    "limit": Verdict.TIMEOUT,
}


def verify(problem: Problem, text: str, options: ReadingOptions = READING) -> Judgement:
    """Run the last fenced block of ``text`` against the problem's tests (a list of Python sources, or one).

    Too much time or memory is ``timeout``, code that does not compile ``unparsable``. Raises CodeExecutionDisabled
    where neither another user nor a namespace is to be had.
    """
    verifier = f"{NAME}/{VERSION}"
    found = read_answer(text, Domain.CODE, options)
    code = found.answer
    if code is None:
        return unreadable(verifier, found.why)
    shown = code[:MAX_ANSWER]
    given = problem.meta.get("tests") or []
    tests = [given] if isinstance(given, str) else [str(test) for test in given]
    if not tests:
        return unparsable(verifier, shown, "the problem has no tests", UnreadableReason.BAD_PROBLEM)
    if len(code) > MAX_CODE:
        return unparsable(verifier, shown, "the code is too long")
    outcome, report = run_tests(code, tests)
    if outcome == "syntax":
        return unparsable(verifier, shown, report[:500])
    return Judgement(_VERDICTS[outcome], shown, verifier, report[:500])


def run_tests(code: str, tests: list[str], seconds: int = SECONDS, memory_mb: int = MEMORY_MB) -> tuple[str, str]:
    """Outcome (``passed``, ``failed``, ``syntax``, ``limit``) and report of running ``tests`` on ``code``."""
    nonce = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="errata-code-") as scratch:
        limits = {"seconds": seconds, "memory_mb": memory_mb}
        job = {"code": code, "tests": tests, "scratch": scratch, "nonce": nonce, **limits}
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(_CHILD)],
                input=json.dumps(job).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=scratch,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                timeout=seconds + _GRACE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "limit", f"took longer than {seconds} s"
    return _read_result(done.stdout, nonce)


def _read_result(output: bytes, nonce: str) -> tuple[str, str]:
    """The child's last word; one without the nonce did not come from the runner."""
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        return "failed", "the run ended without a result"
    if result.get("outcome") == "not_isolated":
        raise CodeExecutionDisabled(f"this machine cannot isolate code: {result.get('report')}")
    if result.get("nonce") != nonce:
        return "failed", str(result.get("report", "the run ended without a result"))
    return str(result["outcome"]), str(result["report"])
