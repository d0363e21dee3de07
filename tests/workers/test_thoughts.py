"""Thoughts in the real stages: why a sample is unreadable, and a job's own markers from verdicts to training data."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import select

from errata.prompts import SOLVE_PREFIX
from errata.shapes import SHAPES, PairRecord
from errata.types import Domain, Reason
from models.jobs import SolutionRow
from tests.workers.injection_jobs import Posted, pairs_of, run_job
from tests.workers.scripted import MODEL, Scripted
from workers.engines.base import GenerationRequest
from workers.runner import Services
from workers.training.run.data import StepBoundaries, thought_markers

OWN = {"markers": [["[T]", "[/T]"]]}
#: What the model writes, how that ends, and why it is unreadable.
WRITTEN: list[tuple[str, str, Reason]] = [
    ("", "stop", Reason.NOTHING_WRITTEN),
    ("We add 3 and", "length", Reason.CUT),
    ("<think>It is 5.", "length", Reason.CUT),
    ("<think>The answer is 5.</think>", "stop", Reason.THOUGHTS_ONLY),
    ("It is some number.", "stop", Reason.UNPARSABLE),
]


def written(replies: list[tuple[str, str]]) -> Scripted:
    """A language model that answers question n by the n-th reply, where the solver's opening is part of it."""

    def reply(request: GenerationRequest) -> tuple[str, str]:
        return replies[int(request.prompt.messages[0].content.split("Number ")[1].split()[0])]

    return Scripted(reply)


def numbered(count: int) -> list[Posted]:
    return [Posted(f"Number {at} plus 3 is what?", "5", []) for at in range(count)]


def test_why_samples_are_unreadable_is_stored_and_counted(services: Services) -> None:
    services.engines = written(
        [*((text, ended) for text, ended, _ in WRITTEN), ("2 + 3 = 5. The answer is 5.", "stop")]
    )
    sampling = {"source": "model", "samples": 1, "adaptive": False}
    funnel = run_job(services, "step-only", numbered(len(WRITTEN) + 1), model=MODEL, sampling=sampling)
    with services.db.read() as session:
        rows = list(session.scalars(select(SolutionRow).order_by(SolutionRow.problem_id)))
    assert all(row.text.startswith(SOLVE_PREFIX) for row in rows)
    assert [row.reason for row in rows] == [*(str(reason) for _, _, reason in WRITTEN), None]
    unused = funnel.counts["samples"]["unused"]
    assert {reason: unused[reason] for reason in ("cut_at_limit", "nothing_written", "thoughts_only")} == {
        "cut_at_limit": 2,
        "nothing_written": 1,
        "thoughts_only": 1,
    }


SOLUTION = (
    "Step 1: She pays 3 * 4 = 12.\n[T] Step 2: Or 2 * 4 = 8.\nThe answer is 91. [/T]\nStep 2: So 99 - 12 = 87 left.\n"
    "The answer is 87."
)


def test_a_jobs_own_markers_hold_in_every_stage(services: Services) -> None:
    posted = [Posted("She has 99 dollars and buys 3 pens at 4 dollars. What is left?", "87", [SOLUTION])]
    run_job(services, "rules", posted, thoughts=OWN)
    pairs = pairs_of(services)
    assert {pair.step_index for pair in pairs} == {0, 2}, "the thought is step 1, and is not offered"
    for pair in pairs:
        assert pair.chosen.startswith(("Step 1: She", "Step 2: So"))


def test_the_answer_in_anothers_thought_counts(services: Services) -> None:
    """With the default markers the same text is a solution whose thought is part of it."""
    posted = [Posted("What is left?", "87", ["[T] It is hard. [/T]\n[T] The answer is 87.\n[/T]"])]
    run_job(services, "rules", posted)
    with services.db.read() as session:
        assert [row.verdict for row in session.scalars(select(SolutionRow))] == ["correct"]


def record(prefix: str, chosen: str, markers: tuple[tuple[str, str], ...]) -> PairRecord:
    nothing = dict.fromkeys(PairRecord.__dataclass_fields__)
    values = {"type": "step", "question": "q", "prefix": prefix, "chosen": chosen, "rejected": "x", "domain": "math"}
    return PairRecord(**{**nothing, **values, "thoughts": markers})  # type: ignore[arg-type]


def test_the_stepwise_shape_cuts_by_the_jobs_markers() -> None:
    at = SOLUTION.index("Step 2: So")
    [right, _] = SHAPES["process_reward"].rows(record(SOLUTION[:at], SOLUTION[at:], (("[T]", "[/T]"),)))
    assert [step[:6] for step in right["completions"]] == ["Step 1", "[T] St", "Step 2"]
    [row] = SHAPES["steps_and_full"].rows(record("", "y", ()))
    assert "thoughts" not in row


def test_training_data_is_cut_by_the_markers_of_the_manifest(tmp_path: Path) -> None:
    assert thought_markers(tmp_path) == {}
    lineage = [{"job_id": "a", "config": {"thoughts": OWN}}, {"job_id": "b", "config": {"preset": "rules"}}]
    offering = {"job_id": "c", "config": {"thoughts": {"offer": True}}}
    (tmp_path / "manifest.json").write_text(json.dumps({"lineage": [*lineage, offering]}))
    found = thought_markers(tmp_path)
    assert found["a"] == (("[T]", "[/T]"),)
    assert ("<think>", "</think>") in found["b"]
    assert found["c"] == ()
    boundaries = StepBoundaries([])
    own = boundaries.of_solution("p", SOLUTION, Domain.MATH, found["a"])
    assert [piece[:6] for piece in own] == ["Step 1", "[T] St", "Step 2", "The an"]
    assert "".join(own) == SOLUTION
    assert len(boundaries.of_solution("p", SOLUTION, Domain.MATH)) != len(own)
