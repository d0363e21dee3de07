"""Commands in a real terminal (tmux): the live view at two widths, resized, interrupted; pairs by keys; completion."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from models.jobs import InjectionJob, PairRow, Shard
from models.session import Database
from tests.api.conftest import bring, post_job, post_problems
from tests.api.test_injection_jobs import add_outputs
from tests.cli.served import serving
from tests.lacking import lacking
from tests.processes import ROOT, environment, until

pytestmark = pytest.mark.slow
HOSTILE = "loading \x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m \u202etxt"


class Terminal:
    """One tmux server of the test's own, with one session."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-f", os.devnull, "-S", str(socket)]

    def _do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, check=True).stdout

    def start(self, command: str, env: dict[str, str], width: int = 100, height: int = 24) -> None:
        """Run a shell's command in a new session, and keep what it wrote when it has ended."""
        given = [f"{name}={value}" for name, value in env.items()]
        line = f"env {shlex.join(given)} {command}; echo STATUS $?; exec cat"
        self._do("new-session", "-d", "-s", "t", "-x", str(width), "-y", str(height), line)

    def press(self, *keys: str) -> None:
        """Send keys, as tmux names them."""
        self._do("send-keys", "-t", "t", *keys)

    def resize(self, width: int, height: int) -> None:
        """Change the terminal's size."""
        self._do("resize-window", "-t", "t", "-x", str(width), "-y", str(height))

    @property
    def text(self) -> str:
        """What is on the screen."""
        return self._do("capture-pane", "-p", "-t", "t")

    @property
    def title(self) -> str:
        """The title that programs have given the terminal."""
        return self._do("display-message", "-p", "-t", "t", "#{pane_title}").strip()

    def shows(self, text: str, *more: str) -> str:
        """Wait for texts on the screen; the screen."""
        until(lambda: all(each in self.text for each in (text, *more)), f"{text} on the screen", 60)
        return self.text

    def end(self) -> None:
        """Kill it."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        lacking("tmux is not installed")
    made = Terminal(tmp_path_factory.mktemp("tmux") / "s")  # a socket's path must be short
    yield made
    made.end()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Database]]:
    with serving(tmp_path_factory.mktemp("service")) as made:
        yield made


@pytest.fixture
def env(service: tuple[str, Database], tmp_path: Path) -> dict[str, str]:
    """Where the commands find the service; without the tests' own settings."""
    own = environment(tmp_path / "home")
    return {
        **{name: own[name] for name in ("ERRATA_HOME", "PYTHONPATH", "PATH")},
        "ERRATA_URL": service[0],
        "ERRATA_CONFIG": str(tmp_path / "none.json"),
        "LANG": "C.UTF-8",
        "TERM": "screen-256color",
    }


def command(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "cli.main", *arguments])


def running_job(database: Database, url: str) -> str:
    """A job whose one running shard says hostile things."""
    import httpx

    with httpx.Client(base_url=url) as client:
        set_id = post_problems(client)  # type: ignore[arg-type]
        bring(client, set_id)  # type: ignore[arg-type]
        job_id = str(post_job(client, set_id)["id"])  # type: ignore[arg-type]
    told = {"share": 0.5, "made": 3, "total": 6, "completion": 1200, "doing": HOSTILE}
    with database.begin() as session:
        session.execute(update(InjectionJob).where(InjectionJob.id == job_id).values(state="running"))
        session.execute(
            update(Shard).where(Shard.injection_job_id == job_id).values(state="running", stage="edit", progress=told)
        )
    return job_id


def tell(database: Database, job_id: str, **progress: object) -> None:
    with database.begin() as session:
        session.execute(update(Shard).where(Shard.injection_job_id == job_id).values(progress=progress))


def end(database: Database, job_id: str) -> None:
    with database.begin() as session:
        session.execute(
            update(InjectionJob).where(InjectionJob.id == job_id).values(state="failed", error=f"it broke {HOSTILE}")
        )


@pytest.mark.parametrize("width", [80, 140])
def test_a_watched_job_looks_right_resized_and_to_its_end(
    terminal: Terminal, service: tuple[str, Database], env: dict[str, str], width: int
) -> None:
    url, database = service
    job_id = running_job(database, url)
    terminal.start(command("jobs", "watch", job_id), env, width)
    untouched = terminal.title
    seen = terminal.shows(f"{job_id}  running  rules", "edit  3 of 6 edits  1,200 tokens")
    assert "0 of 5 problems" in seen
    terminal.resize(width - 30, 20)
    tell(database, job_id, share=0.9, made=5, total=6, completion=2000, doing=HOSTILE)
    seen = terminal.shows("5 of 6 edits  2,000 tokens")
    assert max(map(len, seen.splitlines())) <= width - 30
    end(database, job_id)
    seen = terminal.shows("STATUS 3")
    told = " ".join("".join(line.ljust(width - 30) for line in seen.splitlines()).split())
    assert f"errata: {job_id} failed: it broke loading \\x1b]0;owned\\x07\\x1b[2J\\x1b[31mred\\x9b31m \\u202e" in told
    assert terminal.title == untouched


def test_ctrl_c_ends_watching_and_not_the_job(
    terminal: Terminal, service: tuple[str, Database], env: dict[str, str]
) -> None:
    url, database = service
    job_id = running_job(database, url)
    terminal.start(command("jobs", "watch", job_id), env, 120)
    terminal.shows("3 of 6 edits")
    terminal.press("C-c")
    assert f"the job goes on: `errata jobs watch {job_id}`" in terminal.shows("STATUS 130")
    with database.read() as session:
        assert session.get_one(InjectionJob, job_id).state == "running"
    end(database, job_id)


def test_a_pipe_gets_plain_lines(service: tuple[str, Database], env: dict[str, str]) -> None:
    url, database = service
    job_id = running_job(database, url)
    end(database, job_id)
    arguments = [sys.executable, "-m", "cli.main", "jobs", "watch", job_id, "--json"]
    done = subprocess.run(arguments, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[0].startswith(f"{job_id} failed · 100%")
    left = f"{command('jobs', 'list', '--json')} | head -c 1; echo ${{PIPESTATUS[0]}}"
    cut = subprocess.run(["bash", "-c", left], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert cut.stderr == ""


def test_pairs_are_browsed_and_judged_by_keys(
    terminal: Terminal, service: tuple[str, Database], env: dict[str, str], tmp_path: Path
) -> None:
    url, database = service
    job_id = running_job(database, url)
    add_outputs(database, job_id)
    with database.begin() as session:
        ids = list(
            session.scalars(select(PairRow.id).where(PairRow.job_id == job_id).order_by(PairRow.created_at, PairRow.id))
        )
        session.execute(update(PairRow).where(PairRow.id == ids[0]).values(chosen=HOSTILE))
    terminal.start(command("pairs", "browse", "--job", job_id), env, 70, 14)
    untouched = terminal.title
    assert "+ loading \\x1b]0;owned\\x07\\x1b[2J" in terminal.shows(ids[0], "1 · Enter next")
    terminal.press("a")
    if len(ids) > 1:
        terminal.shows(ids[1], "2 · ")
        terminal.press("p")
    terminal.shows(ids[0], "1 · accepted")
    terminal.resize(50, 12)
    seen = terminal.shows("1 · accepted")
    assert max(map(len, seen.splitlines())) <= 50
    terminal.press("q")
    terminal.shows("STATUS 0")
    assert terminal.title == untouched
    with database.read() as session:
        assert session.get_one(PairRow, ids[0]).review == "accepted"
    plain = subprocess.run(
        [sys.executable, "-m", "cli.main", "pairs", "browse", "--job", job_id],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(pair_id in plain.stdout for pair_id in ids)
    assert "\x1b" not in plain.stdout


SHELLS: dict[str, tuple[str, str]] = {
    "bash": ("bash --norc", 'eval "$(_ERRATA_COMPLETE=source_bash errata)"'),
    "zsh": ("zsh -f", 'autoload -Uz compinit; compinit -u; eval "$(_ERRATA_COMPLETE=source_zsh errata)"'),
    "fish": ("fish --no-config", "_ERRATA_COMPLETE=source_fish errata | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands_and_options(
    terminal: Terminal, env: dict[str, str], tmp_path: Path, shell: str
) -> None:
    start, load = SHELLS[shell]
    if shutil.which(shell) is None:
        lacking(f"{shell} is not installed")
    program = tmp_path / "bin" / "errata"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {command()} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    terminal.start(start, {**env, "PATH": f"{program.parent}:{env['PATH']}", "HOME": str(tmp_path), "PS1": "> "})
    terminal.press(f"{load}; echo load''ed", "Enter")
    terminal.shows("loaded\n")
    terminal.press("errata jobs wat", "Tab")
    terminal.shows("errata jobs watch")
    terminal.press("C-u", "errata jobs list --sta", "Tab")
    terminal.shows("errata jobs list --state")
