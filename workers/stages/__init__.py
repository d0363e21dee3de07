"""The stages and which function runs each: short plain functions between two transactions (workers.stages.base)."""

from __future__ import annotations

from models.states import Stage
from workers.stages import continuations, evaluate, grade, imported, pair, prove, sample
from workers.stages.base import StageFunction
from workers.stages.editing.stage import edit

STAGES: dict[str, StageFunction] = {
    Stage.SAMPLE: sample.sample,
    Stage.GRADE: grade.grade,
    Stage.EDIT: edit,
    Stage.CONTINUE: continuations.continue_edits,
    Stage.PROVE: prove.prove,
    Stage.PAIR: pair.pair,
    Stage.FREEZE: imported.freeze_or_import,
    Stage.ANSWER: evaluate.answer,
    Stage.JUDGE: evaluate.judge,
    Stage.REJUDGE: evaluate.rejudge,
}
