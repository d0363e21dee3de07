"""A workspace full of rows for the dashboard's tests: every kind of row and state, and one set of hostile texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from errata.config import resolve
from models.base import Base, db_now
from models.events import record
from models.jobs import InjectionJob, PairRow, Shard, SolutionRow
from models.outputs import Checkpoint, Dataset, DatasetSource, Evaluation, EvaluationSample, Metric, TrainingRun
from models.session import Database
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow, ProblemSet, Workspace
from tests.dashboard_funnel import EDITS, editor_of, funnel

HOSTILE = (
    "<script>window.hacked=1</script></style></title><img src=x onerror=window.hacked=1>"
    + "{{ 7*7 }} \u202eright to left\u202c שלום עולם "
    + "W" * 600
)
#: What no page may choke on: it is a single line.
LONG = HOSTILE + "x" * 200_000
PREAMBLE = "Let's think step by step.\n"
STEPS = (
    "Step 1: Mara packs 6 crates of 12 pears, so she has 6 * 12 = 72 pears.\n",
    "Step 2: She sells 45 of them, so 72 - 45 = 27 pears are left.\n",
    "Step 3: Each jar takes 3 pears, so she fills 27 / 3 = 9 jars.\n",
    "Step 4: The answer is \\boxed{9}.",
)
QUESTION = (
    "Mara packs 6 crates with 12 pears each. She sells 45 pears at the market and cooks the rest into jam, which takes"
    " 3 pears per jar. How many jars does she fill?"
)
OTHER_WORKSPACE = "ws_other"


@dataclass(frozen=True)
class Filled:
    """Ids of what was inserted."""

    problem_set: str = "pset_pears"
    finished: str = "inj_finished"
    running: str = "inj_running"
    hostile: str = "inj_hostile"
    foreign: str = "inj_foreign"
    dataset: str = "ds_pears"
    training: str = "train_pears"
    waiting_training: str = "train_waiting"
    evaluations: tuple[str, ...] = ("eval_before", "eval_after", "eval_open")
    step_pairs: tuple[str, ...] = ("pair_step0", "pair_step1", "pair_step2")
    full_pair: str = "pair_full"
    hostile_pair: str = "pair_hostile"
    foreign_pair: str = "pair_foreign"


def fill(database: Database) -> Filled:
    """Insert everything into empty tables."""
    ids = Filled()
    with database.begin() as session:
        _add(session, Workspace(id=DEFAULT_WORKSPACE, name="default"), Workspace(id=OTHER_WORKSPACE, name="other"))
        _problems(session, DEFAULT_WORKSPACE, "pset_pears", "pears", QUESTION)
        _problems(session, OTHER_WORKSPACE, "pset_foreign", "foreign", "A question of somebody else")
        _problems(session, DEFAULT_WORKSPACE, "pset_hostile", HOSTILE, LONG)
        for row_id, name in (("lm_tiny", "tiny"), ("lm_tuned", "tiny-tuned")):
            _add(session, LanguageModel(id=row_id, workspace_id=DEFAULT_WORKSPACE, name=name, engine="transformers"))
        _finished_job(session, ids)
        _running_job(session, ids)
        _hostile_job(session, ids)
        _foreign_job(session, ids)
        _dataset(session, ids)
        _training_runs(session, ids)
        _metrics(session, ids)
        _evaluations(session, ids)
    return ids


def _add(session: Session, *rows: Base) -> None:
    session.add_all(rows)
    session.flush()


def _problems(session: Session, workspace: str, set_id: str, name: str, question: str) -> None:
    _add(
        session,
        ProblemSet(
            id=set_id, workspace_id=workspace, name=name, domain="math", problem_count=1, content_sha256="", rejected=[]
        ),
    )
    problem_id = set_id.replace("pset", "prob")
    _add(session, ProblemRow(id=problem_id, problem_set_id=set_id, position=0, question=question, gold_answer="9"))


def _job(session: Session, row_id: str, set_id: str, state: str, **values: Any) -> str:
    """A job with one shard; returns the shard's id."""
    workspace = values.pop("workspace_id", DEFAULT_WORKSPACE)
    shard = {"stage": "pair", "state": "done"} | values.pop("shard", {})
    config = resolve("errata").model_dump(mode="json")
    job = InjectionJob(
        id=row_id, workspace_id=workspace, problem_set_id=set_id, state=state, config=config, started_at=db_now(-90)
    )
    for name, value in values.items():
        setattr(job, name, value)
    _add(session, job)
    _add(session, Shard(id=f"shard_{row_id}", injection_job_id=row_id, position=0, **shard))
    record(session, workspace, row_id, "queued", shards=1)
    return f"shard_{row_id}"


def _solution(session: Session, job: str, shard: str, problem: str, index: int, text: str, **values: Any) -> str:
    row_id = f"sol_{job}_{index}".replace("inj_", "")
    row = {"source": "tiny", "seed": 11, "verdict": "correct", "extracted": "9"} | values
    _add(
        session,
        SolutionRow(id=row_id, job_id=job, shard_id=shard, problem_id=problem, sample_index=index, text=text, **row),
    )
    return row_id


def _pair(session: Session, row_id: str, key: str, **values: Any) -> None:
    defaults = {"workspace_id": DEFAULT_WORKSPACE, "source": "tiny", "language_model": "tiny", "seed": 4711}
    _add(session, PairRow(id=row_id, pair_key=key, prompt_version="edit-errata/1", **(defaults | values)))


def _finished_job(session: Session, ids: Filled) -> None:
    job, text = ids.finished, PREAMBLE + "".join(STEPS)
    shard = _job(
        session,
        job,
        "pset_pears",
        "succeeded",
        name="Pears by the dozen",
        language_model_id="lm_tiny",
        funnel=funnel().to_dict(),
        finished_at=db_now(-20),
    )
    correct = _solution(session, job, shard, "prob_pears", 0, text)
    wrong = _solution(
        session, job, shard, "prob_pears", 1, text.replace("27", "37"), verdict="incorrect", extracted="12"
    )
    common = {
        "job_id": job,
        "shard_id": shard,
        "problem_id": "prob_pears",
        "solution_id": correct,
        "question": QUESTION,
    }
    for index, kind, edited, evidence_kind, evidence in EDITS:
        start = len(PREAMBLE) + sum(map(len, STEPS[:index]))
        _pair(
            session,
            ids.step_pairs[index],
            f"step:{correct}:{index}:{kind}",
            **common,
            type="step",
            prefix=text[:start],
            chosen=STEPS[index],
            rejected=edited,
            step_index=index,
            start=start,
            end=start + len(STEPS[index]),
            error_kind=kind,
            editor=editor_of(kind),
            distance=1,
            evidence_kind=evidence_kind,
            evidence=evidence,
        )
    rejected = text.replace("27", "37")
    sides = {"chosen": text, "rejected": rejected, "rejected_solution_id": wrong}
    _pair(session, ids.full_pair, "full:prob_pears", **common, **sides, type="full")


def _running_job(session: Session, ids: Filled) -> None:
    shard = {"stage": "edit", "state": "running", "ledger": {"funnel": {"problems": {"total": 1}}}}
    _job(session, ids.running, "pset_pears", "running", shard=shard, language_model_id="lm_tiny")


def _hostile_job(session: Session, ids: Filled) -> None:
    job = ids.hostile
    shard = _job(session, job, "pset_hostile", "failed", name=HOSTILE, error=HOSTILE, shard={"state": "quarantined"})
    text = f"Step 1: {HOSTILE}\nStep 2: then {HOSTILE}\nStep 3: {LONG}"
    solution = _solution(session, job, shard, "prob_hostile", 0, text, source=HOSTILE, extracted=HOSTILE)
    start, end = text.index("Step 2"), text.index("Step 3")
    _pair(
        session,
        ids.hostile_pair,
        "step:x:1:calculation",
        job_id=job,
        shard_id=shard,
        problem_id="prob_hostile",
        solution_id=solution,
        type="step",
        question=LONG,
        prefix=text[:start],
        chosen=text[start:end],
        rejected=text[start:end].replace("then", "</div><script>window.hacked=1</script>"),
        step_index=1,
        start=start,
        end=end,
        error_kind="calculation",
        evidence_kind="unproven",
        evidence={"why": HOSTILE, "left": HOSTILE},
        language_model=HOSTILE,
    )
    record(session, DEFAULT_WORKSPACE, job, "shard_failed", error=HOSTILE)


def _foreign_job(session: Session, ids: Filled) -> None:
    job = ids.foreign
    shard = _job(session, job, "pset_foreign", "succeeded", workspace_id=OTHER_WORKSPACE)
    solution = _solution(session, job, shard, "prob_foreign", 0, "Step 1: 1 + 1 = 2.")
    _pair(
        session,
        ids.foreign_pair,
        "step:f:0:calculation",
        workspace_id=OTHER_WORKSPACE,
        job_id=job,
        shard_id=shard,
        problem_id="prob_foreign",
        solution_id=solution,
        type="step",
        question="A question of somebody else",
        chosen="Step 1: 1 + 1 = 2.",
        rejected="Step 1: 1 + 1 = 3.",
        step_index=0,
        start=0,
        end=18,
    )


def _dataset(session: Session, ids: Filled) -> None:
    files = [{"path": "step/train.jsonl", "rows": 3, "bytes": 2048, "sha256": "ab" * 32}]
    dataset = Dataset(id=ids.dataset, workspace_id=DEFAULT_WORKSPACE, name="pears-1", state="succeeded", config={})
    dataset.manifest, dataset.sha256 = (
        {
            "files": files,
            "rows": {
                "steps_and_full": {"train": 3},
                "step": {"train": 3},
                "whole": {"train": 2},
                "trl": {"train": 3},
            },  # one shape of another version
            "counts": {"pairs": 4},
            "audit": {"step": {"sentence": "A classifier tells the sides of step pairs apart with AUC 0.53."}},
            "audit_by_kind": [
                {
                    "kind": "operator",
                    "form": "stands",
                    "pairs": 3,
                    "auc": 0.7,
                    "low": 0.6,
                    "high": 0.8,
                    "shortcut": True,
                }
            ],
            "gates": {"labels": {"state": "passed", "sentence": "Every label was found right again."}},
            "default_shape": "whole",
            "notes": ["Only 2 of 3 pairs have a whole form: `whole` holds no others."],
            "whole": {"pairs": {"program": 2}, "left_out": {"no_rest": 1}, "left_out_samples": {}, "rests": []},
        },
        "cd" * 32,
    )
    _add(session, dataset)
    _add(session, DatasetSource(dataset_id=ids.dataset, job_id=ids.finished))


def _training_runs(session: Session, ids: Filled) -> None:
    run = {"workspace_id": DEFAULT_WORKSPACE, "dataset_id": ids.dataset, "base_model_id": "lm_tiny"}
    config = {"beta": 0.1, "epochs": 2}
    _add(
        session,
        TrainingRun(
            id=ids.training,
            output_name="tiny-tuned",
            output_model_id="lm_tuned",
            state="running",
            step=60,
            total_steps=80,
            started_at=db_now(-300),
            config=config,
            **run,
        ),
        TrainingRun(id=ids.waiting_training, output_name="tiny-again", config=config, **run),
    )
    _add(session, Checkpoint(id="ckpt_40", run_id=ids.training, step=40, path="x", size_bytes=3_400_000, manifest={}))


def _metrics(session: Session, ids: Filled) -> None:
    for step in range(1, 61):
        values = {"loss": 0.7 / step**0.5, "accuracy": min(1.0, step / 50), "margin": step / 100, "tokens": 900}
        values |= {"step/margin": step / 90, "full/margin": step / 200, "learning_rate": 5e-5 * (1 - step / 80)}
        values |= {"step/logp_chosen": -9.0 + step / 60, "step/logp_rejected": -9.0 - step / 20}
        values |= {"kind/operator/accuracy": 0.75, "kind/operator/margin": 0.5, "kind/calculation/accuracy": 0.5}
        if step == 30:
            values["loss"] = None  # what a non-finite loss is stored as
        _add(session, Metric(run_id=ids.training, step=step, phase="train", values=values))
        if step % 20 == 0:
            _add(session, Metric(run_id=ids.training, step=step, phase="eval", values={"loss": 0.8 / step**0.5}))


def _evaluations(session: Session, ids: Filled) -> None:
    results = ({"accuracy": 0.365, "interval": [0.344, 0.387]}, {"accuracy": 0.617, "interval": [0.595, 0.638]}, None)
    for row_id, model, result in zip(ids.evaluations, ("lm_tiny", "lm_tuned", "lm_tiny"), results, strict=True):
        evaluation = Evaluation(
            id=row_id,
            workspace_id=DEFAULT_WORKSPACE,
            problem_set_id="pset_pears",
            language_model_id=model,
            state="succeeded" if result else "queued",
            config={"temperature": 1.0},
            result=result,
        )
        _add(session, evaluation)
        if result:
            shard = Shard(
                id=f"shard_{row_id}", evaluation_id=row_id, position=0, start=0, stop=1, stage="judge", state="done"
            )
            _add(session, shard)
            right = row_id == ids.evaluations[1]
            _add(
                session,
                EvaluationSample(
                    evaluation_id=row_id, problem_id="prob_pears", shard_id=shard.id, sample_index=0, seed=0,
                    text=HOSTILE, verdict="correct" if right else "incorrect", extracted="9" if right else "8",
                ),
            )  # fmt: skip
