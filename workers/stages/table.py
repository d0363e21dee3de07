"""Which function runs which stage."""

from __future__ import annotations

from models.states import Stage
from workers.stages.base import StageFunction
from workers.stages.edit import edit
from workers.stages.evaluate import answer, judge
from workers.stages.explore import explore
from workers.stages.freeze import freeze
from workers.stages.grade import grade
from workers.stages.pair import pair
from workers.stages.prove import prove
from workers.stages.rejudge import rejudge
from workers.stages.sample import sample

STAGES: dict[str, StageFunction] = {
    Stage.SAMPLE: sample,
    Stage.GRADE: grade,
    Stage.EDIT: edit,
    Stage.CONTINUE: explore,
    Stage.PROVE: prove,
    Stage.PAIR: pair,
    Stage.FREEZE: freeze,
    Stage.ANSWER: answer,
    Stage.JUDGE: judge,
    Stage.REJUDGE: rejudge,
}
