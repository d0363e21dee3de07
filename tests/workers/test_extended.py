"""Jobs that extend another one: only what is new is done, with seeds of its own, and the pairs of all add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from errata.config import InjectionConfig
from errata.funnel import Funnel
from models.base import new_id
from models.extensions import family, finished_positions, new_positions, untouched_positions
from models.jobs import EditRow, InjectionJob, PairRow, Shard, SolutionRow
from models.session import Database
from models.states import JobState, ShardState
from models.workspaces import DEFAULT_WORKSPACE, ProblemRow, ProblemSet
from tests.workers.injection_jobs import PROBLEMS, post_job, run_job, run_shards, sums
from tests.workers.scripted import MODEL, Scripted
from workers.engines.base import GenerationRequest
from workers.lifecycle import plan_positions
from workers.runner import Services


@pytest.fixture
def both(database: Database, services: Services) -> Services:
    """The services over either database."""
    services.db = database
    return services


def extend(services: Services, of: str, name: str, extension: dict[str, Any], **config: Any) -> Funnel:
    """Add a job behind another as the API does, run it, and answer its funnel, checked."""
    with services.db.begin() as session:
        old = session.get_one(InjectionJob, of)
        new = InjectionConfig.model_validate({**old.config, **config}).model_dump(mode="json")
        names = ("workspace_id", "problem_set_id", "language_model_id", "prompt_versions")
        columns = {column: getattr(old, column) for column in names}
        job = InjectionJob(id=name, config=new, extends=of, extension=extension, **columns)
        session.add(job)
        session.flush()
        if "problems" in extension:
            positions = untouched_positions(session, "pset", family(session, of))
        else:
            positions = finished_positions(session, old)
        plan_positions(session, job, positions)
    run_shards(services)
    with services.db.read() as session:
        job = session.get_one(InjectionJob, name)
        assert job.state == JobState.SUCCEEDED, job.error
        funnel = Funnel.from_dict(job.funnel or {})
    funnel.check()
    return funnel


def rows(services: Services, table: type[Any], job: str) -> list[Any]:
    with services.db.read() as session:
        return list(session.scalars(select(table).where(table.job_id == job)))


def said(pairs: list[PairRow]) -> set[tuple[str, ...]]:
    return {(pair.type, pair.question, pair.prefix, pair.chosen, pair.rejected) for pair in pairs}


def test_the_rest_of_a_stopped_job_gives_what_the_whole_job_would_have(both: Services) -> None:
    post_job(both, "rules", shard_size=2, stop={"accepted_pairs": 7})
    run_shards(both)
    first = rows(both, PairRow, "inj")
    more = extend(both, "inj", "inj_more", {"problems": "rest"}, stop={})
    second = rows(both, PairRow, "inj_more")
    assert not said(first) & said(second)
    with both.db.begin() as session:
        old = session.get_one(InjectionJob, "inj")
        done = Funnel.from_dict(old.funnel or {}).counts["problems"]["total"]
        assert done + more.counts["problems"]["total"] == PROBLEMS
        whole = InjectionJob(
            id="whole", workspace_id=DEFAULT_WORKSPACE, problem_set_id="pset", config={**old.config, "stop": {}}
        )
        session.add(whole)
        session.flush()
        plan_positions(session, whole, list(range(PROBLEMS)))
    run_shards(both)
    assert said(first) | said(second) == said(rows(both, PairRow, "whole"))
    with both.db.read() as session:
        assert untouched_positions(session, "pset", family(session, "inj_more")) == []
        assert family(session, "inj") == family(session, "inj_more") == ["inj", "inj_more"]


def test_further_edits_are_of_the_same_solutions_and_of_other_steps(both: Services) -> None:
    before = run_job(both, "rules", editing={"edits_per_solution": 1}, pairs={"full": True})
    rules = {"editor": "rules", "fallback": []}
    more = extend(
        both,
        "inj",
        "inj_more",
        {"edits_per_solution": 2},
        editing={**rules, "edits_per_solution": 2},
        pairs={"full": False},
    )
    old = {(row.problem_id, row.step_index) for row in rows(both, EditRow, "inj")}
    new = {(row.problem_id, row.step_index) for row in rows(both, EditRow, "inj_more")}
    assert old
    assert new
    assert not old & new, "no step is edited twice"
    assert {problem for problem, _ in new} <= {problem for problem, _ in old}
    assert more.counts["steps"]["skipped"]["edited_before"] == len(old)
    assert more.counts["tokens"]["sample"] == {"prompt": 0, "completion": 0, "cached": 0}, "taken over, not sampled"
    assert before.counts["pairs"]["by_type"]["full"] > 0
    assert set(more.counts["pairs"]["by_type"]) <= {"step"}, "whole solutions are not paired a second time"
    both_sides = [said(rows(both, PairRow, job)) for job in ("inj", "inj_more")]
    assert not both_sides[0] & both_sides[1]
    texts = [{row.text for row in rows(both, SolutionRow, job) if row.role} for job in ("inj", "inj_more")]
    assert texts[1] <= texts[0]


def solver(right: set[int]) -> Callable[[GenerationRequest], str]:
    """Solves by the seed: every text has its seed in it, and those whose number is in ``right`` are correct."""
    by_question = {each.question: each for each in sums()}
    first: dict[str, int] = {}

    def reply(request: GenerationRequest) -> str:
        question = next(q for q in by_question if q in request.prompt.messages[-1].content)
        seed = request.seed - first.setdefault(question, request.seed)
        solution = by_question[question].solutions[0 if seed in right else 1]
        return solution.replace("Step 2: So", f"Step 2: So by way {'abcdefgh'[seed]} the sum")

    return reply


def test_further_samples_have_other_seeds_and_the_used_texts_are_not_drawn_again(services: Services) -> None:
    services.engines = Scripted(solver({0, 1, 2, 3}))
    plain = {"source": "model", "samples": 1, "adaptive": False}
    run_job(services, "rules", model=MODEL, sampling=plain, pairs={"full": False})
    more = {**plain, "first": 1, "samples": 2}
    counted = extend(services, "inj", "inj_more", {"samples": 3}, sampling={**more, "opening": _opening(services)})
    old, new = rows(services, SolutionRow, "inj"), rows(services, SolutionRow, "inj_more")
    assert {row.sample_index for row in old} == {0}
    assert {row.sample_index for row in new} == {1, 2}
    seeds = {row.problem_id: row.seed for row in old}
    assert all(row.seed == seeds[row.problem_id] + row.sample_index for row in new), "as one job of three has them"
    assert counted.counts["samples"]["total"] == 2 * PROBLEMS
    assert not said(rows(services, PairRow, "inj")) & said(rows(services, PairRow, "inj_more"))


def test_a_solution_that_was_drawn_before_is_not_drawn_again(services: Services) -> None:
    by_question = {each.question: each for each in sums()}
    services.engines = Scripted(
        lambda request: next(p.solutions[0] for q, p in by_question.items() if q in request.prompt.messages[-1].content)
    )
    plain = {"source": "model", "samples": 1, "adaptive": False}
    run_job(services, "rules", model=MODEL, sampling=plain, pairs={"full": False})
    counted = extend(
        services, "inj", "inj_more", {"samples": 2}, sampling={**plain, "first": 1, "opening": _opening(services)}
    )
    assert counted.counts["samples"]["unused"] == {"drawn_before": PROBLEMS}
    assert rows(services, PairRow, "inj_more") == [], "the same text again would give the same pairs again"


def _opening(services: Services) -> Any:
    with services.db.read() as session:
        return session.get_one(InjectionJob, "inj").config["sampling"]["opening"]


def test_an_extension_that_is_killed_between_stages_loses_and_doubles_nothing(services: Services) -> None:
    run_job(services, "rules", editing={"edits_per_solution": 1}, shard_size=4)
    calm = extend(services, "inj", "calm", {"edits_per_solution": 2}, editing=_more_edits(), pairs={"full": False})
    real, killed = dict(services.stages), set()

    def dying(stage: str) -> Callable[..., Any]:
        def run(context: Any) -> Any:
            made = real[stage](context)
            if (stage, context.lease.shard_id) not in killed:
                killed.add((stage, context.lease.shard_id))
                with services.db.begin() as session:  # another worker has the shard by now
                    mine = Shard.id == context.lease.shard_id
                    session.execute(update(Shard).where(mine).values(fence=Shard.fence + 1, state=ShardState.QUEUED))
            return made

        return run

    services.stages = {stage: dying(stage) for stage in real}  # each stage's first end comes too late, by its fence
    with services.db.begin() as session:
        session.execute(update(InjectionJob).where(InjectionJob.id == "calm").values(extends=None))
    before = said(rows(services, PairRow, "calm"))
    for _ in range(6):  # every shard's stages are done twice
        if _ == 0:
            _post_again(services)
        run_shards(services)
    storm = rows(services, PairRow, "storm")
    assert killed
    assert said(storm) == before
    assert len(storm) == calm.counts["pairs"]["total"]


def _more_edits() -> dict[str, Any]:
    return {"editor": "rules", "fallback": [], "edits_per_solution": 2}


def _post_again(services: Services) -> None:
    with services.db.begin() as session:
        old, calm = session.get_one(InjectionJob, "inj"), session.get_one(InjectionJob, "calm")
        names = ("workspace_id", "problem_set_id", "config", "prompt_versions", "extension")
        storm = InjectionJob(id="storm", extends="inj", **{name: getattr(calm, name) for name in names})
        session.add(storm)
        session.flush()
        plan_positions(session, storm, finished_positions(session, old))


def test_of_another_set_only_new_questions_are_taken(both: Services) -> None:
    post_job(both, "rules", shard_size=6)
    with both.db.begin() as session:
        other = ProblemSet(id="more", workspace_id=DEFAULT_WORKSPACE, name="m", domain="math", content_sha256="")
        session.add(other)
        session.flush()
        questions = ["What is 1 + 1?", sums()[3].question, "What is 2 + 2?"]
        for at, question in enumerate(questions):
            row = ProblemRow(id=new_id("prob"), problem_set_id="more", position=at, question=question, gold_answer="2")
            session.add(row)
    with both.db.read() as session:
        assert new_positions(session, "more", ["inj"]) == [0, 2]
