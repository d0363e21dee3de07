"""The whole road by ``errata`` alone, against a service of the test's own: problems, jobs, pairs, datasets, models."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.main import app
from demo import problems
from tests.processes import ROOT, Running, environment

pytestmark = pytest.mark.slow
PROBLEMS = 6


class Errata:
    """The command, pointed at one service."""

    def __init__(self, url: str, home: Path) -> None:
        self._env = {**environment(home), "ERRATA_URL": url, "ERRATA_CONFIG": str(home / "profiles.json")}

    def __call__(self, *arguments: str, status: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must be of this status."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(
            command, env={**self._env, **env}, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What it prints with --json."""
        return [json.loads(line) for line in self(*arguments, "--json").stdout.splitlines()]


@pytest.fixture(scope="module")
def errata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Errata]:
    home = tmp_path_factory.mktemp("home")
    with Running("serve", "--port", "0", "--no-trainer", env=environment(home)) as serve:
        yield Errata(serve.url(), home)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of problems, and one of solutions for them."""
    folder = tmp_path_factory.mktemp("files")
    made = problems.generate(PROBLEMS, seed=23)
    asked, brought = folder / "asked.jsonl", folder / "brought.jsonl"
    asked.write_text("\n".join(json.dumps(row) for row in problems.rows(made)), encoding="utf-8")
    rows = [{"problem": at, "source": "gold", "text": each.gold_solution} for at, each in enumerate(made)]
    brought.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return asked, brought


@pytest.fixture(scope="module")
def job(errata: Errata, files: tuple[Path, Path]) -> str:
    """The id of a finished job."""
    asked, brought = files
    posted = errata("problems", "upload", str(asked), "--name", "mine").stdout.split()[0]
    told = errata("problems", "bring", posted, str(brought)).stdout
    assert f"{PROBLEMS} received, {PROBLEMS} added" in told
    settings = ["--set", "sampling.source=brought", "--set", "shard_size=2"]
    started = errata("inject", posted, "--preset", "rules", *settings, "--name", "first", "--watch")
    assert "succeeded · 100%" in started.stderr
    assert "\x1b" not in started.stderr + started.stdout
    return started.stdout.strip()


def test_sets_jobs_and_pairs_are_listed_and_shown(errata: Errata, job: str) -> None:
    [found] = errata.rows("problems", "list")
    assert (found["name"], found["problem_count"]) == ("mine", PROBLEMS)
    assert "question" in errata("problems", "show", found["id"], "--rows", "2").stdout
    assert [row["id"] for row in errata.rows("jobs", "list", "--state", "succeeded")] == [job]
    assert "100%" in errata("jobs", "show", job).stdout
    assert "succeeded" in errata("jobs", "logs", job, "--follow").stdout
    pairs = errata.rows("pairs", "list", "--job", job)
    [shown] = errata.rows("jobs", "show", job)
    assert len(pairs) == shown["funnel"]["pairs"]["total"] > 0
    text = errata("pairs", "show", pairs[0]["id"]).stdout
    assert pairs[0]["rejected"].strip().splitlines()[0] in text


def test_an_estimate_forecasts(errata: Errata, job: str) -> None:
    [found] = errata.rows("problems", "list")
    told = errata("estimate", found["id"], "--preset", "rules", "--set", "sampling.source=brought").stdout
    assert "pairs" in told
    assert "of one worker" in told


def test_a_dataset_is_made_shown_and_downloaded(errata: Errata, job: str, tmp_path: Path) -> None:
    made = errata("datasets", "create", "mine", job, "--set", "split.test=0.0", "--watch").stdout.strip()
    assert [row["id"] for row in errata.rows("datasets", "list")] == [made]
    assert "steps_and_full: train" in errata("datasets", "show", made).stdout
    folder = tmp_path / "here"
    assert errata("datasets", "download", made, str(folder)).stdout.strip() == str(folder)
    assert (folder / "manifest.json").is_file()


def test_a_file_is_imported_renamed_tagged_and_deleted(errata: Errata, job: str, tmp_path: Path) -> None:
    file = tmp_path / "theirs.jsonl"
    rows = [{"q": f"Q{at}?", "good": "yes", "bad": "no"} for at in range(3)] + [{"q": "Q?", "good": "a", "bad": "a"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = ["--map", "prompt=q", "--map", "chosen=good", "--map", "rejected=bad"]
    done = errata("datasets", "import", str(file), *columns, "--set", "split.test=0.0", "--watch")
    made = done.stdout.strip()
    assert "3 pairs, 0 samples, bad rows left out: 1" in done.stderr
    assert "'chosen' and 'rejected' are equal (first lines: 4)" in done.stderr
    assert "renamed" in errata("datasets", "rename", made, "renamed").stdout
    assert errata("datasets", "tag", made, "b", "a").stdout.split() == ["a", "b"]
    assert "nothing was deleted" in errata("datasets", "rm", made, status=1).stderr
    errata("datasets", "rm", made, "--yes")


def test_refusals_say_what_to_do_and_have_a_status(errata: Errata, job: str, tmp_path: Path) -> None:
    [found] = errata.rows("problems", "list")
    assert "give one of errata" in errata("inject", found["id"], "--preset", "nope", status=1).stderr
    assert "config.sampling.sampels" in errata("inject", found["id"], "--set", "sampling.sampels=1", status=1).stderr
    assert "no such problem set" in errata("problems", "show", "pset_1", status=1).stderr
    hub = ("problems", "upload", "hub:openai/gsm8k", "--split", "test")
    assert "ERRATA_HUB_INTAKE=true" in errata(*hub, status=1).stderr
    assert "is no job" in errata("jobs", "show", "pset_1", status=1).stderr
    assert "already ended" in errata("jobs", "cancel", job, status=1).stderr
    assert "errata serve" in errata("jobs", "list", status=4, ERRATA_URL="http://127.0.0.1:9").stderr
    errata("inject", status=2)


def test_login_keeps_a_profile(errata: Errata, job: str) -> None:
    url = errata._env["ERRATA_URL"]
    errata("login", url, "--profile", "here")
    listed = errata("jobs", "list", "--json", ERRATA_URL="", ERRATA_PROFILE="here").stdout
    assert job in listed
    errata("logout", "--profile", "here")
    assert "there is no profile 'here'" in errata("logout", "--profile", "here", status=1).stderr
    assert "cannot" not in errata("login", "ftp://x", status=1).stdout


def test_the_version_and_completion(errata: Errata) -> None:
    assert errata("--version").stdout.startswith("errata 0.")
    asked = {"_ERRATA_COMPLETE": "complete_bash", "COMP_WORDS": "errata jo", "COMP_CWORD": "1"}
    assert errata(**asked).stdout.split() == ["jobs"]


def test_every_command_of_the_quickstart_works(errata: Errata, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, flags=re.M | re.S)
    assert sum(block.count("errata ") for block in blocks) >= 9
    program = tmp_path / "bin" / "errata"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    env = {**errata._env, "PATH": f"{program.parent}:{errata._env['PATH']}"}
    script = "set -euo pipefail\n" + "\n".join(blocks)
    done = subprocess.run(["bash", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "first" / "manifest.json").is_file()
    assert "replay" in done.stdout
    assert "whole_conversational: train" in done.stdout, "preferences from the question to an answer"
    assert "Errata's own trainer takes" not in done.stderr, "and no note that there are none"


def _lines(script: str) -> list[list[str]]:
    """The `errata` commands of a script, each as its words, with shell variables as they stand."""
    found = re.findall(r"(?:^|\(|true |\n)errata ((?:[^()\n]|\$\([^()]*\))*)", script)
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("file", ["README.md", "run.sh"])
def test_the_example_gives_commands_and_options_that_exist(file: str) -> None:
    text = (ROOT / "examples" / "gsm8k-qwen2.5" / file).read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, flags=re.M | re.S)) if file.endswith(".md") else text
    lines = _lines(script)
    assert len(lines) >= 10, lines
    for words in lines:
        command: Any = get_command(app)
        while getattr(command, "commands", None):
            command = command.commands[words.pop(0)]
        known = {name for each in command.params for name in each.opts}
        assert {word for word in words if word.startswith("--")} <= known, (command.name, words)
