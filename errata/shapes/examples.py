"""One fixed pair and one fixed sample, and the row that each shape makes of them: for documents, API and tests."""

from __future__ import annotations

from errata.rests import Rest, RestKind
from errata.shapes.records import PairRecord, Row, SampleRecord, evidence_text
from errata.shapes.registry import SHAPES, Shape
from errata.types import EvidenceKind, Form

_QUESTION = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast and bakes muffins with four."
    " She sells the rest for $2 per egg. How much does she make every day?"
)
_PREFIX = "Let's think step by step.\nStep 1: Janet sells 16 - 3 - 4 = 9 eggs a day.\n"
_CHOSEN = "Step 2: She makes 9 * 2 = $18 every day.\n"
_REJECTED = "Step 2: She makes 9 * 3 = $27 every day.\n"

EXAMPLE_PAIR = PairRecord(
    pair_id="pair_1",
    type="step",
    question=_QUESTION,
    prefix=_PREFIX,
    chosen=_CHOSEN,
    rejected=_REJECTED,
    step_index=1,
    start=len(_PREFIX),
    end=len(_PREFIX) + len(_CHOSEN),
    error_kind="substitution",
    form=str(Form.CONSISTENT),
    editor="slip",
    distance=2,
    evidence=str(EvidenceKind.REPLAY),
    evidence_detail=evidence_text({"answer": "27", "equation": "9 * 3 = $27", "original": "9 * 2 = $18"}),
    source="my-model",
    problem_id="prob_1",
    job_id="inj_1",
    domain="math",
    problem_external_id="gsm8k-1",
    gold_answer="18",
    language_model="my-model",
    prompt_version="slip/1",
    seed=7,
    error_rate=0.125,
    rest=Rest(RestKind.PROGRAM, "The answer is \\boxed{18}.", "The answer is \\boxed{27}."),
)
EXAMPLE_SAMPLE = SampleRecord(
    question=_QUESTION,
    completion=f"{_PREFIX}{_CHOSEN}The answer is \\boxed{{18}}.",
    problem_id="prob_1",
    job_id="inj_1",
    domain="math",
)


def example_row(shape: Shape) -> Row:
    """The first row that a shape makes of the example."""
    made = shape.rows(EXAMPLE_PAIR) if shape.samples is None else shape.samples(EXAMPLE_SAMPLE)
    return made[0]


def shapes_table() -> str:
    """The registry as a Markdown table, for documents."""
    head = ("shape", "for", "loader", "completions end at", "chat template", "columns")
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for shape in SHAPES.values():
        columns = ", ".join(f"`{name}`" for name in shape.fields)
        ends = {"answer": "an answer", "step": "a step", "nothing": ""}[shape.ends]
        cells = (f"`{shape.name}`", shape.trainers, f"`{shape.loader}`", ends, shape.chat_template, columns)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
