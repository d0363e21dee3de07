"""``errata demo``: everything over HTTP, with the miniature or with real solutions, and the result as JSON.

Uses the service like anyone else: through the client. The product knows nothing of the miniature.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from demo import gsm8k, pipeline
from demo.display import Display
from demo.pipeline import PLANS
from demo.service import DemoError, home, register, service
from errata_client import Errata, ErrataError

MODEL = Path(__file__).resolve().parent / "model"


@dataclass(frozen=True)
class Options:
    """What the command line asks for. ``gsm8k``: a file of real solutions, and no model at all."""

    gsm8k: Path | None = None
    server: str | None = None
    plan: str = "full"
    random_model: bool = False
    keep_serving: bool = False
    as_json: bool = False


def run(options: Options) -> int:
    """Run the demo; the exit status. With ``as_json`` the last line of standard output is the result."""
    display = Display()
    try:
        _check(options)
        with tempfile.TemporaryDirectory(prefix="errata-demo-") as scratch:
            _demo(options, display, Path(scratch))
    except (DemoError, ErrataError) as error:
        display.say(f"[red]errata demo:[/red] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        display.say("interrupted; what was done is kept, and `errata serve` shows it")
        return 130
    return 0


def _check(options: Options) -> None:
    if options.plan not in PLANS:
        raise DemoError(f"there is no plan '{options.plan}'; give one of {', '.join(PLANS)}")
    if options.gsm8k is not None and not options.gsm8k.is_file():
        raise DemoError(f"there is no file {options.gsm8k}")


def _demo(options: Options, display: Display, scratch: Path) -> None:
    run_pipeline = _pipeline(options, display, scratch)
    with ExitStack() as stack:  # starting the service is timed, and it outlives that block
        with display.stage("start", "Starting the service"):
            errata = stack.enter_context(service(options.server))
        result = run_pipeline(errata)
        result["seconds"] = {**display.seconds, "total": round(sum(display.seconds.values()), 1)}
        result["dashboard"] = errata.url + "/"
        _tell(options, display, result)


def _pipeline(options: Options, display: Display, scratch: Path) -> Callable[[Errata], dict[str, Any]]:
    folder = home() / "demo"
    if options.gsm8k is not None:
        file = options.gsm8k
        return lambda errata: gsm8k.run_pipeline(errata, file, folder, display)
    name, weights = ("miniature", MODEL) if not options.random_model else ("miniature-random", scratch / "model")

    def run_pipeline(errata: Errata) -> dict[str, Any]:
        with display.stage("start", "Registering the miniature"):
            if options.random_model:
                build = [sys.executable, "-m", "demo.build_model", "--untrained", "--out", str(weights)]
                subprocess.run(build, check=True)
            register(errata, name, weights, own=options.server is None)
        return pipeline.run_pipeline(errata, name, PLANS[options.plan], folder, display)

    return run_pipeline


def _tell(options: Options, display: Display, result: dict[str, Any]) -> None:
    again = "" if options.server else " while this runs; later: `errata serve`"
    display.say(f"\nPairs, proofs and curves: {result['dashboard']}{again}")
    display.say(f"The dataset: {result['dataset'] or 'none, for want of pairs'}")
    if options.as_json:
        print(json.dumps(result, ensure_ascii=False), flush=True)
    if options.keep_serving and options.server is None:
        display.say("Serving until Ctrl-C.")
        _until_interrupted()


def _until_interrupted() -> None:
    try:
        sys.stdin.read()
    except KeyboardInterrupt:
        return
