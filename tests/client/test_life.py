"""The client's reviews, lineage, differences, retractions, tags and deletions against a real service."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from demo import problems
from errata_client import ConflictError, Errata, InvalidRequest, NotFoundError
from errata_client.records import Dataset, InjectionJob
from tests.client.test_client import RULES, errata

__all__ = ["errata"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job(errata: Errata) -> InjectionJob:
    """A finished job over problems with ids of their sender's own."""
    made = problems.generate(6, seed=13)
    posted = errata.problem_sets.create("own", [{**row, "id": f"own-{n}"} for n, row in enumerate(problems.rows(made))])
    rows = [{"problem": at, "source": "gold", "text": made[at].gold_solution} for at in range(6)]
    errata.problem_sets.bring_solutions(posted.id, rows)
    return errata.injection_jobs.wait(errata.injection_jobs.create(posted.id, preset="rules", config=RULES).id)


@pytest.fixture(scope="module")
def dataset(errata: Errata, job: InjectionJob) -> Dataset:
    """A dataset of the finished job."""
    return errata.datasets.wait(errata.datasets.create("first", [job.id]).id)


def test_reviews(errata: Errata, job: InjectionJob, dataset: Dataset) -> None:
    pairs = [pair.id for pair in errata.pairs.list(job=job.id)]
    errata.pairs.review(pairs[0], "rejected", reason="dull", reviewer="Ada")
    assert errata.pairs.get(pairs[0]).review == "rejected"
    assert [(r.verdict, r.reason, r.reviewer) for r in errata.pairs.reviews(pairs[0])] == [("rejected", "dull", "Ada")]
    assert len(errata.pairs.review_many({"pair": pair, "verdict": "accepted"} for pair in pairs)) == len(pairs)
    errata.pairs.withdraw_review(pairs[1])
    assert {pair.id for pair in errata.pairs.list(review="none")} == {pairs[1]}
    records = list(errata.datasets.argilla_records(dataset.id))
    assert {record["id"] for record in records} == set(pairs)
    records[0]["responses"] = {"verdict": [{"value": "rejected", "user_id": "u"}]}
    assert errata.pairs.take_argilla(records).reviewed == 1
    assert errata.pairs.get(records[0]["id"]).review == "rejected"
    assert "verdict" in str(errata.datasets.argilla_settings(dataset.id))


def test_an_ended_job_is_extended_and_has_no_limits_left_to_change(errata: Errata, job: InjectionJob) -> None:
    with pytest.raises(InvalidRequest, match="every step"):
        errata.injection_jobs.extend(job.id, edits_per_solution=2)
    with pytest.raises(ConflictError, match="no problem of its set is left"):
        errata.injection_jobs.extend(job.id, problems="rest")
    with pytest.raises(ConflictError, match="extend the job"):
        errata.injection_jobs.set_stop(job.id, accepted_pairs=5)
    assert [event.sentence for event in errata.injection_jobs.events(job.id)][-1].startswith("It succeeded.")


def test_pairs_are_found_by_ones_own_problem_id(errata: Errata, job: InjectionJob) -> None:
    pair = next(errata.pairs.list(job=job.id))
    assert pair.external_id is not None
    assert pair.gold_answer is not None
    found = list(errata.pairs.list(problem=pair.external_id))
    assert {row.problem for row in found} == {pair.problem}
    with pytest.raises(NotFoundError):
        list(errata.pairs.list(problem="nobody's"))


def test_from_retraction_to_deletion(errata: Errata, job: InjectionJob, dataset: Dataset, tmp_path: Path) -> None:
    pair = next(errata.pairs.list(job=job.id))
    assert [held.dataset for held in errata.pairs.lineage(pair.id).datasets] == [dataset.id]
    told = errata.retractions.retract_problem(job.problem_set, str(pair.external_id), "gold is wrong")
    assert [held.dataset for held in told.reached or []] == [dataset.id]
    later = errata.datasets.wait(errata.datasets.create("later", [job.id]).id)
    difference = errata.datasets.difference(dataset.id, later.id)
    removed = list(errata.datasets.differing_pairs(dataset.id, later.id, side="removed"))
    assert (difference.added, difference.removed) == (0, len(removed))
    assert {row["problem_id"] for row in removed} == {pair.problem}
    assert [found.id for found in errata.retractions.list()] == [told.id]
    errata.retractions.withdraw(told.id)
    archive = errata.datasets.download_archive(later.id, tmp_path / "later.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None

    renamed = errata.datasets.update(later.id, name="newest", tags=["best", "rise"])
    assert (renamed.name, renamed.tags) == ("newest", ["best", "rise"])
    assert [found.id for found in errata.datasets.list(tag="best")] == [later.id]
    assert errata.problem_sets.dependents(job.problem_set)[0].id == job.id
    with pytest.raises(ConflictError):
        errata.injection_jobs.delete(job.id)
    gone = errata.datasets.delete(later.id)
    assert [one.id for one in gone.deleted] == [later.id]
    assert gone.purged
    started = errata.injection_jobs.create(job.problem_set, preset="rules", config=RULES)
    errata.injection_jobs.wait(started.id)
    errata.problem_sets.delete(job.problem_set, cascade=True)
    assert list(errata.pairs.list()) == []
    assert list(errata.datasets.list()) == []
