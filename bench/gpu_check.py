"""Everything that needs a GPU, in one go: ``make gpu-check``, or ``python -m bench.gpu_check [--dry-run]``.

Under eight minutes on one card of an H100's class. It says first which packages are missing; where the machine reaches
no package index it takes them from a folder of wheels (``--wheels``, ``WHEELS=`` of make), into a folder of their own.
Then, each part with a limit of its own, in a process group that is ended with it:

- ``tests``: the tests marked ``gpu``: tree masks by SDPA and FlexAttention, forward and backward; training runs in
  float32 and bfloat16, with adapters, 4 bits where bitsandbytes is, checkpointing, stop and resume, a GPU that is too
  small; the transformers engine in this process and as a child;
- ``step_0.5b``, ``step_1.5b``, and both by FlexAttention: ``bench.training_step`` with random weights of Qwen2.5's
  shapes, against TRL in the same run, with peak memory;
- ``vllm``: generation of the miniature through our engine, where vLLM is installed.

A part that is cut off or fails is named with its last words, and the others go on. The result, with the card's name,
driver and versions, is one line of JSON, and a file with ``--out``. Exit status 0: every part that ran passed.

``--dry-run`` lists the parts and runs what runs on a processor, in small sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUDGET_SECONDS = 470
_PATIENCE = 4  # a processor is slower, and may do other things
_SUMMARY_SECONDS = 10
_LAST_WORDS = 3000  # characters of a failed part's output
_PYTEST = ("pytest", "pytest-timeout", "hypothesis", "psutil")
_EXTRAS = ("server", "train")


@dataclass(frozen=True)
class Part:
    """One process: its command, how long it may take, and what must be there for it."""

    name: str
    command: Sequence[str]
    seconds: int
    needs_gpu: bool = False
    module: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def parts(dry: bool) -> list[Part]:
    """What is done on a GPU, or by a dry run on a processor in small sizes, in the order of its worth."""
    device = "cpu" if dry else "cuda"
    tests = ["pytest", "-v", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "gpu", "tests/gpu", "-rfEs"]
    tests += ["--tb=short", "--durations=8"]
    step = ["bench.training_step", "--json", "--device", device, "--threads", "1" if dry else "0"]
    small = ["--size", "4m", "--problems", "2", "--edits", "3", "--sweep", "2", "--repeats", "1"]
    large = ["--problems", "16", "--micro", "32", "--edits", "3", "--sweep", "8", "32"]
    flex = ["--problems", "16", "--micro", "32", "--edits", "3", "--sweep", "8", "--attention", "flex"]
    return [
        Part("tests", tests, 220, environment={"ERRATA_GPU_DEVICE": device}),
        Part("step_0.5b", [*step, *(small if dry else ["--size", "qwen-0.5b", *large])], 90),
        Part("step_1.5b", [*step, "--size", "qwen-1.5b", *large], 140, needs_gpu=True),
        Part("step_0.5b_flex", [*step, "--size", "qwen-0.5b", *flex], 80, needs_gpu=True),
        Part("step_1.5b_flex", [*step, "--size", "qwen-1.5b", *flex], 110, needs_gpu=True),
        Part("vllm", ["bench.gpu_vllm"], 120, needs_gpu=True, module="vllm"),
    ]


def missing() -> list[str]:
    """The requirements of the project that this interpreter does not meet, as pyproject.toml states them."""
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *_PYTEST]
    for extra in _EXTRAS:
        wanted += project["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(str(requirement))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement} (here is {version})")
    return found


def install(wheels: Path, target: Path) -> None:
    """Unpack every wheel of a folder into ``target``, without an index. Raises CalledProcessError."""
    files = [str(path) for path in sorted(wheels.glob("*.whl"))]
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
    subprocess.run([*line, "--no-cache-dir", "--target", str(target), *files], check=True)


def machine() -> dict[str, Any]:
    """The card, its driver, and versions of what computes."""
    told: dict[str, Any] = {"python": platform.python_version(), "gpu": None}
    for name in ("torch", "transformers", "trl", "peft", "accelerate", "triton", "bitsandbytes", "vllm"):
        try:
            told[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            told[name] = None
    if shutil.which("nvidia-smi"):
        line = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            name, driver, total = (part.strip() for part in done.stdout.splitlines()[0].split(","))
            told |= {"gpu": name, "driver": driver, "gpu_memory": total, "gpus": len(done.stdout.splitlines())}
    return told


def perform(part: Part, seconds: float, log: Path) -> dict[str, Any]:
    """Run one part: ``state`` (passed, failed, cut), ``seconds``, and its line of JSON or its last words."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "CI": "true", **part.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # every part imports the same
    began = time.monotonic()
    with log.open("w") as output:
        # A session of its own: what it started goes with it.
        process = subprocess.Popen([sys.executable, "-m", *part.command], cwd=ROOT, env=environment, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
        try:
            state = "passed" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            state = "cut"
            process.send_signal(signal.SIGINT)  # pytest then tells what failed so far
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SUMMARY_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    told: dict[str, Any] = {"state": state, "seconds": round(time.monotonic() - began, 1)}
    if counts := re.findall(r"(\d+) (passed|failed|skipped|errors?)", text.rpartition("\n")[0][-400:]):
        told["tests"] = {name: int(count) for count, name in counts}
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if state == "passed" and lines:
        told["figures"] = json.loads(lines[-1])
    if state != "passed":
        told["last_words"] = text[-_LAST_WORDS:]
    return told


def check(dry: bool, folder: Path) -> dict[str, Any]:
    """Every part in turn, within the budget; what is left out is told with why."""
    result: dict[str, Any] = {"benchmark": "gpu_check", "dry_run": dry, **machine(), "parts": {}}
    began = time.monotonic()
    for part in parts(dry):
        left = BUDGET_SECONDS - (time.monotonic() - began)
        why = None
        if dry and part.needs_gpu:
            why = "needs a GPU"
        elif part.module is not None and find_spec(part.module) is None:
            why = f"{part.module} is not installed"
        elif not dry and left < 15:
            why = "no time was left"
        if why is not None:
            say(f"{part.name}: left out, {why}")
            result["parts"][part.name] = {"state": "left out", "why": why, "command": " ".join(part.command)}
            continue
        limit = part.seconds * _PATIENCE if dry else min(part.seconds, left)
        say(f"{part.name}: at most {limit:.0f} s")
        told = perform(part, limit, folder / f"{part.name}.log")
        say(f"{part.name}: {told['state']} in {told['seconds']} s {json.dumps(told.get('tests', ''))}")
        if told["state"] != "passed":
            say(told["last_words"])
        result["parts"][part.name] = told
    result["seconds"] = round(time.monotonic() - began, 1)
    result["passed"] = all(told["state"] in ("passed", "left out") for told in result["parts"].values())
    return result


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="list the parts; run what runs on a processor")
    parser.add_argument("--wheels", type=Path, help="folder of wheels with what is missing here")
    parser.add_argument("--out", type=Path, help="write the result, and each part's output beside it, into this file")
    parser.add_argument("--json", action="store_true", help="accepted as by every benchmark: the result is JSON anyway")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.wheels is not None:
            target = Path(scratch) / "site"
            install(args.wheels, target)
            sys.path.insert(0, str(target))
            os.environ["PYTHONPATH"] = f"{target}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        if lacks := missing():
            say("missing: " + ", ".join(lacks))
            say("install them (`make dev`), or fetch them as wheels elsewhere and give the folder: WHEELS=FOLDER")
            return 2
        if not args.dry_run and machine()["gpu"] is None:
            say("no NVIDIA GPU answers (nvidia-smi); --dry-run lists the parts and runs what runs on a processor")
            return 2
        folder = args.out.parent if args.out is not None else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result = check(args.dry_run, folder)
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
