"""The judge pool: real answers, hostile answers, killed children, many threads."""

from __future__ import annotations

import fcntl
import json
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from errata.answers import CodeExecutionDisabled
from errata.types import Domain, Problem, Verdict
from workers.judge import JudgeClosed, JudgeItem, JudgePool


def _item(gold: str, answer: str) -> JudgeItem:
    return JudgeItem(Problem("?", gold), rf"\boxed{{{answer}}}", Domain.MATH)


_others: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def _none_of_ours_yet() -> None:
    """Children of pools that tests before us in this process left running are nobody's business here."""
    _others.clear()
    _others.update(_children())


def _children() -> list[psutil.Process]:
    found = [p for p in psutil.Process().children() if "workers.judge_child" in " ".join(p.cmdline())]
    return [p for p in found if p not in _others]


def _stopped() -> psutil.Process:
    """The one child, stopped: whatever it is given then takes as long as a test likes."""
    (child,) = _children()
    child.suspend()
    while child.status() != psutil.STATUS_STOPPED:  # until then it may still take what it is given
        threading.Event().wait(0.01)
    return child


def _has_work(child: psutil.Process) -> bool:
    """Whether items wait in the child's pipe."""
    with Path(f"/proc/{child.pid}/fd/0").open("rb") as pipe:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder) > 0


@pytest.fixture
def pool() -> Iterator[JudgePool]:
    with JudgePool(1) as pool:
        yield pool


def test_published_labels_of_1600_real_solutions(shared_data: Path, pool: JudgePool) -> None:
    items, labels = [], []
    with (shared_data / "gsm8k" / "model-solutions-400.jsonl").open() as lines:
        for line in lines:
            row = json.loads(line)
            problem = Problem(row["question"], row["ground_truth"].rsplit("A: ", 1)[1])
            for given in (value for value in row.values() if isinstance(value, dict)):
                items.append(JudgeItem(problem, given["solution"], Domain.MATH))
                labels.append(given["is_correct"])
    judgements = pool.judge_many(items)
    assert len(judgements) == 1600
    assert [j.verdict is Verdict.CORRECT for j in judgements] == labels
    assert {j.verdict for j in judgements} == {Verdict.CORRECT, Verdict.INCORRECT, Verdict.UNPARSABLE}


HOSTILE = [
    ("5", "9^{9^{9}}"),
    ("5", r"\binom{10000000}{5000000}"),
    ("5", "(" * 500 + "1" + ")" * 500),
    ("5", "(10^{10})!"),
    ("2^x", r"\frac{(x+1)^{5000}-(x-1)^{5000}}{x}"),  # not done in four times the limit
]


@pytest.mark.slow
@pytest.mark.parametrize(("gold", "answer"), HOSTILE)
def test_a_hostile_answer_harms_only_itself(pool: JudgePool, gold: str, answer: str) -> None:
    judged = pool.judge_many(
        [_item("18", "18"), _item(gold, answer), _item("18", "17"), _item(r"2\sqrt{3}", r"\sqrt{12}")]
    )
    assert judged[1].verdict is not Verdict.CORRECT
    assert judged[1].seconds <= 10
    assert [j.verdict for j in (judged[0], judged[2], judged[3])] == [
        Verdict.CORRECT,
        Verdict.INCORRECT,
        Verdict.CORRECT,
    ]


def test_an_item_that_takes_too_long_harms_only_itself() -> None:
    with JudgePool(1, wall_seconds=2) as pool:
        assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT
        _stopped()
        judged = pool.judge_many([_item("5", "5"), _item("2", "2"), _item("2", "3")])
        assert [j.verdict for j in judged] == [Verdict.TIMEOUT, Verdict.CORRECT, Verdict.INCORRECT]
        assert 1 < judged[0].seconds < 10


@pytest.mark.slow
def test_a_child_that_is_killed_costs_one_item_and_is_replaced() -> None:
    with JudgePool(1, wall_seconds=60) as pool, ThreadPoolExecutor(1) as caller:
        assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT
        child = _stopped()
        running = caller.submit(pool.judge_many, [_item("5", "5"), _item("2", "2")])
        while not _has_work(child):
            threading.Event().wait(0.05)
        child.kill()
        assert [j.verdict for j in running.result()] == [Verdict.TIMEOUT, Verdict.CORRECT]
        assert child.pid not in [p.pid for p in _children()]


def test_memory_and_time_are_bounded_by_the_kernel_too() -> None:
    with JudgePool(1, wall_seconds=6, memory_mb=700) as pool:
        assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT
        (child,) = _children()
        assert child.rlimit(psutil.RLIMIT_AS) == (700 << 20, 700 << 20)
        used = child.cpu_times()
        assert child.rlimit(psutil.RLIMIT_CPU)[0] <= used.user + used.system + 6 + 3


def test_many_threads_share_two_children() -> None:
    with JudgePool(2) as pool, ThreadPoolExecutor(6) as callers:
        futures = [callers.submit(pool.judge_many, [_item(str(n), str(m)) for m in range(200)]) for n in range(6)]
        for n, future in enumerate(futures):
            assert [m for m, j in enumerate(future.result()) if j.verdict is Verdict.CORRECT] == [n]
        assert len(_children()) <= 2
    assert _children() == []


def test_cancelling_returns_a_prefix_and_leaves_the_pool_healthy(pool: JudgePool) -> None:
    assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT
    child = _stopped()
    judged = pool.judge_many([_item("1", "1"), _item("5", "5"), _item("2", "2")], lambda: _has_work(child))
    assert [j.verdict for j in judged] in ([Verdict.CORRECT], [])
    assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT


def test_closing_ends_running_calls() -> None:
    pool = JudgePool(1, wall_seconds=60)
    with ThreadPoolExecutor(1) as caller:
        assert pool.judge_many([_item("1", "1")])[0].verdict is Verdict.CORRECT
        child = _stopped()
        running = caller.submit(pool.judge_many, [_item("5", "5")])
        while not _has_work(child):
            threading.Event().wait(0.05)
        pool.close()
        with pytest.raises(JudgeClosed):
            running.result()
    assert _children() == []
    with pytest.raises(JudgeClosed):
        pool.judge_many([_item("1", "1")])


def test_code_needs_the_operators_word(pool: JudgePool) -> None:
    problem = Problem("?", "", meta={"tests": ["assert f() == 1"]})
    item = JudgeItem(problem, "```python\ndef f(): return 1\n```", Domain.CODE)
    with pytest.raises(CodeExecutionDisabled):
        pool.judge_many([item])
    with JudgePool(1, allow_code=True) as willing:
        assert willing.judge_many([item])[0].verdict is Verdict.CORRECT


def test_the_child_inherits_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/db")
    with JudgePool(1) as pool:
        pool.judge_many([_item("1", "1")])
        (child,) = _children()
        assert "DATABASE_URL" not in child.environ()


def test_odd_texts_are_answered(pool: JudgePool) -> None:
    texts = ["\x00", "\ud800", "\\boxed{\u0000}", "a\nb\r\nA: 5", "", "A: " + "9" * 100_000]
    judged = pool.judge_many([JudgeItem(Problem("?", "5"), text, Domain.MATH) for text in texts])
    assert [j.verdict for j in judged].count(Verdict.CORRECT) == 1
    assert judged[3].verdict is Verdict.CORRECT
