"""``errata demo``: the whole road over HTTP, with the miniature or with real solutions, and the result as JSON.

Uses the service like anyone else: through the client. The product knows nothing of the miniature.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from client import Errata, ErrataError
from demo import gsm8k, road
from demo.display import Display
from demo.plan import PLANS
from demo.service import DemoError, home, register, service

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
            result = _demo(options, display, Path(scratch))
    except (DemoError, ErrataError) as error:
        display.say(f"[red]errata demo:[/red] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        display.say("interrupted; what was done is kept, and `errata serve` shows it")
        return 130
    del result
    return 0


def _check(options: Options) -> None:
    if options.plan not in PLANS:
        raise DemoError(f"there is no plan '{options.plan}'; give one of {', '.join(PLANS)}")
    if options.gsm8k is not None and not options.gsm8k.is_file():
        raise DemoError(f"there is no file {options.gsm8k}")


def _demo(options: Options, display: Display, scratch: Path) -> dict[str, Any]:
    walk = _walk(options, display, scratch)
    with display.stage("start", "Starting the service"):
        context = service(options.server)
        errata = context.__enter__()
    try:
        result = walk(errata)
        result["seconds"] = {**display.seconds, "total": round(sum(display.seconds.values()), 1)}
        result["dashboard"] = errata.url + "/"
        _tell(options, display, result)
        return result
    finally:
        context.__exit__(None, None, None)


def _walk(options: Options, display: Display, scratch: Path) -> Callable[[Errata], dict[str, Any]]:
    folder = home() / "demo"
    if options.gsm8k is not None:
        file = options.gsm8k
        return lambda errata: gsm8k.walk(errata, file, folder, display)
    name, weights = ("miniature", MODEL) if not options.random_model else ("miniature-random", scratch / "model")

    def walk(errata: Errata) -> dict[str, Any]:
        with display.stage("start", "Registering the miniature"):
            if options.random_model:
                subprocess.run([sys.executable, "-m", "demo.random_model", str(weights)], check=True)
            register(errata, name, weights, own=options.server is None)
        return road.walk(errata, name, PLANS[options.plan], folder, display)

    return walk


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
