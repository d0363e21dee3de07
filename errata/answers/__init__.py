"""Final answers: read from solutions and compared with gold by one verifier per domain."""

from errata.answers.extraction import extract_answer
from errata.answers.judging import VERIFIERS, VerdictChange, VerdictDiff, Verifier, compare_verdicts, judge
from errata.answers.types import CodeExecutionDisabled, Judgement

__all__ = [
    "VERIFIERS",
    "CodeExecutionDisabled",
    "Judgement",
    "VerdictChange",
    "VerdictDiff",
    "Verifier",
    "compare_verdicts",
    "extract_answer",
    "judge",
]
