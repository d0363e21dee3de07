"""Results and comparisons of evaluations, from rows whose figures can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from errata.statistics import mean_interval, paired_difference, proportion_interval
from models.base import new_id
from models.evaluation_results import compare, evaluation_result
from models.jobs import Shard
from models.outputs import Evaluation, EvaluationSample
from models.session import Database
from models.states import Stage
from models.workspaces import LanguageModel, ProblemRow, ProblemSet, Workspace

PROBLEMS = 10
Evaluate = Callable[..., str]


@pytest.fixture
def evaluate(database: Database) -> Evaluate:
    """Stores an evaluation: per problem a string of one letter per sample (c, i, u, t; dot: not judged yet)."""
    with database.begin() as session:
        session.add(Workspace(id="ws_1", name="one"))
        session.flush()
        session.add(ProblemSet(id="pset_1", workspace_id="ws_1", name="s", domain="math", content_sha256="0"))
        session.add(LanguageModel(id="lm_1", workspace_id="ws_1", name="tiny", engine="transformers"))
        session.flush()
        for at in range(PROBLEMS):
            session.add(
                ProblemRow(id=f"prob_{at}", problem_set_id="pset_1", position=at, question=f"q{at}", gold_answer="1")
            )

    def store(answers: list[str], config: dict[str, Any] | None = None, extracted: list[str] | None = None) -> str:
        evaluation_id = new_id("eval")
        with database.begin() as session:
            session.add(
                Evaluation(
                    id=evaluation_id,
                    workspace_id="ws_1",
                    problem_set_id="pset_1",
                    language_model_id="lm_1",
                    config=config or {},
                )
            )
            session.flush()
            shard = Shard(id=new_id("shard"), evaluation_id=evaluation_id, position=0, stage=Stage.JUDGE)
            session.add(shard)
            session.flush()
            for at, letters in enumerate(answers):
                for index, letter in enumerate(letters):
                    session.add(
                        EvaluationSample(
                            evaluation_id=evaluation_id,
                            problem_id=f"prob_{at}",
                            sample_index=index,
                            shard_id=shard.id,
                            text="t",
                            seed=0,
                            finish_reason="length" if letter == "u" else "stop",
                            prompt_tokens=10 if index == 0 else 0,
                            completion_tokens=4 + index,
                            verdict=VERDICTS[letter],
                            extracted=None if extracted is None or letter == "u" else extracted[at].split()[index],
                        )
                    )
        return evaluation_id

    return store


VERDICTS = {"c": "correct", "i": "incorrect", "u": "unparsable", "t": "timeout", ".": None}


def result(database: Database, evaluation_id: str) -> dict[str, Any]:
    with database.read() as session:
        return evaluation_result(session, evaluation_id)


def test_one_sample_per_problem(database: Database, evaluate: Evaluate) -> None:
    found = result(database, evaluate(list("cccciiuutc")))
    wilson = proportion_interval(5, 10)
    told = found.pop("temperatures")
    assert told == [{"temperature": 0.0} | {name: found[name] for name in told[0] if name != "temperature"}]
    assert found == {
        "method": "sample",
        "entropy": {},
        "groups": {},
        "problems": 10,
        "samples": 10,
        "samples_per_problem": 1,
        "accuracy": 0.5,
        "interval": [wilson.low, wilson.high],
        "verdicts": {"correct": 5, "incorrect": 2, "unparsable": 2, "timeout": 1},
        "unparsable": 0.2,
        "cut": 0.2,
        "tokens": {"prompt": 100, "completion": 40, "mean_completion": 4.0},
    }


def test_several_samples_per_problem(database: Database, evaluate: Evaluate) -> None:
    answers = ["cccc", "ccii", "ciii", "iiii"]
    extracted = ["1 1 1 1", "1 1.0 7 7", "1 7 8 8", "7 7 7 7"]
    found = result(database, evaluate(answers, {"temperature": 1.0, "samples": 4}, extracted))
    assert found["samples_per_problem"] == 4
    assert found["accuracy"] == pytest.approx((1 + 0.5 + 0.25 + 0) / 4)
    interval = mean_interval([1.0, 0.5, 0.25, 0.0])
    assert found["interval"] == pytest.approx([interval.low, interval.high])
    assert found["pass_at_k"] == pytest.approx(
        {"1": 1.75 / 4, "2": (1 + 5 / 6 + 0.5 + 0) / 4, "4": 3 / 4},
    )
    assert found["majority_at_k"] == pytest.approx({"2": (1 + 0.5 + 0.25 + 0) / 4, "4": (1 + 0.5 + 0 + 0) / 4})


def test_what_is_not_judged_is_not_counted(database: Database, evaluate: Evaluate) -> None:
    found = result(database, evaluate(list("cc.i")))
    assert (found["problems"], found["samples"], found["accuracy"]) == (3, 3, pytest.approx(2 / 3))
    empty = result(database, evaluate([]))
    assert (empty["problems"], empty["samples"], empty["accuracy"], empty["interval"]) == (0, 0, None, None)
    assert (empty["unparsable"], empty["tokens"]["mean_completion"]) == (None, None)


def test_results_do_not_mix_evaluations(database: Database, evaluate: Evaluate) -> None:
    right, wrong = evaluate(["c"] * 10), evaluate(["i"] * 10)
    assert (result(database, right)["accuracy"], result(database, wrong)["accuracy"]) == (1.0, 0.0)


def test_compare_pairs_by_problem(database: Database, evaluate: Evaluate) -> None:
    before, after = evaluate(list("ccccciiiii")), evaluate(list("cccciccciu"))
    with database.read() as session:
        found = compare(session, before, after)
    expected = paired_difference([True] * 5 + [False] * 5, [True] * 4 + [False] + [True] * 3 + [False] * 2)
    assert (found["gained"], found["lost"], found["problems"]) == (3, 1, 10)
    assert found["delta"] == pytest.approx(0.2)
    assert found["interval"] == [expected.low, expected.high]
    assert found["p_value"] == expected.p_value == pytest.approx(0.625)
    assert found["same_config"] is True


def test_compare_takes_shared_problems_and_means(database: Database, evaluate: Evaluate) -> None:
    before = evaluate(["cc", "ci", "ii", "cc"], {"temperature": 1.0, "samples": 2})
    after = evaluate(["cc", "cc", "ci"], {"temperature": 0.7, "samples": 2})
    with database.read() as session:
        found = compare(session, before, after)
    expected = paired_difference([1.0, 0.5, 0.0], [1.0, 1.0, 0.5])
    assert (found["problems"], found["gained"], found["lost"]) == (3, expected.gained, expected.lost)
    assert found["interval"] == [expected.low, expected.high]
    assert found["same_config"] is False


def test_compare_needs_a_shared_problem(database: Database, evaluate: Evaluate) -> None:
    one, none = evaluate(["c"]), evaluate([])
    with database.read() as session, pytest.raises(ValueError, match="in common"):
        compare(session, one, none)
