"""What workers.child_process promises, one test each, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from errata.prompts import solve_prompt
from tests.processes import until
from workers.child_process import ChildEnded, ChildLate, ChildProcess, run_to_end
from workers.engines.base import EngineError, GenerationRequest, ModelSpec
from workers.engines.pool import EnginePool

Start = Callable[..., ChildProcess]
ECHO = "import sys\nfor line in sys.stdin: print('heard', line, end='', flush=True)"
PROMPT = solve_prompt("1 + 1?")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts children that run Python code, and kills them at the end."""
    children: list[ChildProcess] = []

    def run(code: str, **options: object) -> ChildProcess:
        children.append(ChildProcess("helper", [sys.executable, "-c", code], **options))  # type: ignore[arg-type]
        return children[-1]

    yield run
    for child in children:
        child.kill()


def with_grandchild(then: str, session: bool = False) -> str:
    """Code of a child that starts a grandchild, tells its process id, and goes on with ``then``."""
    return f"""
import subprocess, sys, time
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(subprocess.Popen(["sleep", "600"], start_new_session={session}, **quiet).pid, flush=True)
{then}
"""


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_it_is_spoken_to_line_by_line_and_leads_a_group_of_its_own(start: Start) -> None:
    child = start(ECHO)
    child.send("one\ntwo\n")
    assert [child.read_line(30), child.read_line(30)] == ["heard one", "heard two"]
    assert child.alive
    assert (os.getpgid(child.pid), os.getsid(child.pid)) == (child.pid, child.pid)
    assert os.getpgid(child.pid) != os.getpgid(0)


def test_its_output_is_drained_though_nobody_reads_it(start: Start) -> None:
    child = start(
        "import sys; print('x' * 1_000_000); print('y' * 1_000_000, file=sys.stderr); print('done')", echo=False
    )
    assert child.wait(30) == 0, "it wrote more than two pipes hold, and ended"
    assert child.read_line() == "x" * 1_000_000
    assert child.read_line() == "done"


def test_death_is_told_with_signal_or_status_and_last_words(start: Start, tmp_path: Path) -> None:
    child = start("import sys; sys.exit('no such\\0 model')")
    with pytest.raises(ChildEnded, match="helper ended with status 1"):
        child.read_line(30)
    assert (child.returncode, child.last_words()) == (1, "no such\ufffd model")
    child = start(ECHO)
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ChildEnded, match=r"ended with status -9 \(SIGKILL: killed, or out of memory\)"):
        child.read_line(30)
    log = tmp_path / "log"
    log.write_text("of an earlier one\n")
    child = start("import sys; print('first\\n\\nlast', file=sys.stderr)", log_file=log)
    assert child.wait(30) == 0
    assert (child.last_words(), child.last_words(lines=1)) == ("first\n\nlast", "last")
    assert log.read_text() == "of an earlier one\nfirst\n\nlast\n"


def test_last_words_are_bounded(start: Start) -> None:
    child = start("import sys; sys.stderr.write('x' * 100_000 + 'end')", echo=False)
    child.wait(30)
    assert len(child.last_words()) == 4000
    assert child.last_words().endswith("end")


@pytest.mark.parametrize("session", [False, True], ids=["in its group", "in a session of its own"])
def test_what_a_dead_leader_leaves_behind_is_killed_without_being_asked(start: Start, session: bool) -> None:
    child = start(with_grandchild("time.sleep(600)", session))
    grandchild = int(child.read_line(30) or "")
    assert runs(grandchild)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    until(lambda: not runs(grandchild), "its end", 10)


@pytest.mark.parametrize("session", [False, True], ids=["in its group", "in a session of its own"])
def test_kill_leaves_nothing(start: Start, session: bool) -> None:
    child = start(with_grandchild("time.sleep(600)", session))
    grandchild = int(child.read_line(30) or "")
    child.kill()
    assert not child.alive
    until(lambda: not runs(grandchild), "its end", 10)
    child.kill()  # again: nothing is left, and nothing of anyone else is hit


def test_a_child_of_a_child_goes_with_the_outer_one(start: Start) -> None:
    inner = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from workers.child_process import ChildProcess
print(ChildProcess("inner", ["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""
    child = start(inner)
    grandchild = int(child.read_line(30) or "")
    child.kill()
    until(lambda: not runs(grandchild), "its end", 10)


def test_a_reaped_childs_number_is_never_signalled(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start("pass")
    assert child.wait(30) == 0
    hit: list[int] = []
    for name in ("kill", "killpg"):
        monkeypatch.setattr(os, name, lambda pid, _signal: hit.append(pid))
    child.kill()
    child.stop(1)
    assert hit == []


def test_stop_asks_first_and_kills_after_the_grace(start: Start) -> None:
    orderly = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(1, flush=True)\n"
    child = start(orderly + "time.sleep(600)")
    child.read_line(30)
    assert child.stop(30) == 7
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    child = start(deaf)
    child.read_line(30)
    began = time.monotonic()
    assert child.stop(0.3) == -signal.SIGKILL
    assert time.monotonic() - began < 10


def test_closing_its_input_asks_a_child_that_reads_it(start: Start) -> None:
    child = start(ECHO)
    child.close_input()
    assert child.wait(30) == 0
    with pytest.raises(ChildEnded):
        child.send("too late\n")


def test_reading_and_writing_have_time_limits_and_can_be_cancelled(start: Start) -> None:
    child = start("import time; time.sleep(600)")
    with pytest.raises(ChildLate, match=r"said nothing for 0\.2 s"):
        child.read_line(0.2)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert child.read_line(600, stop.is_set) is None
    with pytest.raises(ChildLate, match=r"took no input for 0\.2 s"):
        child.send("x" * 1_000_000, seconds=0.2)


def test_a_child_that_does_not_start_in_time_is_killed(start: Start) -> None:
    def address(line: str) -> str | None:
        return line.removeprefix("at ") if line.startswith("at ") else None

    child = start("print('hello'); print('at home')")
    assert child.wait_ready(address, 30) == "home"
    child = start("import time; print('hello', flush=True); time.sleep(600)")
    with pytest.raises(ChildLate):
        child.wait_ready(address, 0.5)
    assert not child.alive
    child = start("import time; time.sleep(600)")
    assert child.wait_ready(address, 600, lambda: True) is None
    assert not child.alive


def test_its_standard_input_ends_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed cleans nothing up; a child that watches it ends by itself."""
    told = tmp_path / "pid"
    watching = "import os, time; from workers.child_process import watch_parent; "
    watching += f"open({str(told)!r}, 'w').write(str(os.getpid())); watch_parent(lambda: os._exit(0)); time.sleep(600)"
    parent = "import sys, time; from workers.child_process import ChildProcess; "
    parent += f"ChildProcess('helper', [sys.executable, '-c', {watching!r}]); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT) as process:
        until(lambda: told.exists() and told.read_text(), "the child", 30)
        child = int(told.read_text())
        time.sleep(0.2)
        assert runs(child)
        process.kill()
    until(lambda: not runs(child), "its end", 30)


def test_a_short_child_is_run_to_its_end_or_killed() -> None:
    text, child = run_to_end("helper", [sys.executable, "-c", ECHO], "a\nb", 30)
    assert (text, child.returncode) == ("heard a\nheard b", 0)
    with pytest.raises(ChildLate):
        run_to_end("helper", [sys.executable, "-c", "import time; time.sleep(600)"], "", 0.5)


FAKE_ENGINE = f"""#!{sys.executable}
import json, os, subprocess, sys
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
rank = subprocess.Popen(["sleep", "600"], **quiet)
with open(os.environ["RANKS"], "a") as ranks: print(rank.pid, file=ranks)
print(json.dumps({{"ready": {{}}}}), flush=True)
for line in sys.stdin:
    print(json.dumps({{"id": json.loads(line)["id"], "error": "as asked"}}), flush=True)
"""


def test_the_rank_of_an_engine_whose_leader_was_killed_is_gone_when_the_pool_starts_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left behind it would keep its GPU, and the next child would find no memory."""
    ranks, python = tmp_path / "ranks", tmp_path / "python"
    python.write_text(FAKE_ENGINE)
    python.chmod(0o755)
    monkeypatch.setenv("RANKS", str(ranks))
    pool, model = EnginePool(pythons={"vllm": str(python)}), ModelSpec("big", "vllm", {"path": "org/big"})

    def ask() -> psutil.Process:
        with pytest.raises(EngineError, match="as asked"):
            pool.generate(model, [GenerationRequest(PROMPT)])
        return psutil.Process(int(ranks.read_text().split()[-1]))

    first = ask()
    leader = first.parent()
    assert leader is not None
    leader.kill()
    until(lambda: not runs(leader.pid), "the leader's death", 10)
    second = ask()
    assert second != first
    assert not runs(first.pid), "the rank of the first child"
    pool.close()
    until(lambda: not runs(second.pid), "the end of the second child's", 10)
