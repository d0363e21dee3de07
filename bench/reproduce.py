"""What training on injected errors is worth, on both miniatures: ``python -m bench.reproduce --quick --json``.

Over the service's own API: one study per miniature, base and fine-tuning beside our arms, equal budgets, trials chosen
on validation problems, test problems scored once per arm and seed. ``arms``: name -> miniature -> ``greedy``,
``sampled`` (temperature 1) and ``pass8`` with 95 % intervals over seeds and problems, and ``against_fine_tuning``, the
paired differences. Needs no GPU; --quick takes under an hour on two cores.

It starts a service of its own with its database in --home, and goes on where it was stopped: the same command again
finds its studies by their names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.reproduce_arms import ARMS, CONTROL, QUICK, arms_of
from demo import problems
from demo.run import MODEL
from demo.service import register, service
from errata_client import Errata
from errata_client.studies import Study

_MEASURES = {"greedy": "greedy", "sampled": "sampled", "pass@8": "pass8"}
_SPLITS: dict[str, tuple[problems.Split, int]] = {
    # Held-out seeds differ from those that settings were found with (1, 2) and the card was measured with (5).
    "train": ("train", 11),
    "validation": ("heldout", 12),
    "test": ("heldout", 13),
}


@dataclass(frozen=True)
class Plan:
    """One size of the reproduction. ``miniatures``: miniature, confused."""

    miniatures: tuple[str, ...] = ("miniature", "confused")
    arms: tuple[str, ...] = QUICK
    seeds: tuple[int, ...] = (1, 2, 3)
    train: int = 500
    validation: int = 500
    test: int = 1000
    steps: int = 48
    batch_size: int = 32
    sampled: bool = False

    def evaluation(self) -> dict[str, Any]:
        """How models are measured: scored, or by eight samples."""
        if self.sampled:
            return {"temperatures": [0.0, 1.0], "samples": 8, "max_tokens": 160}
        return {"method": "score", "temperatures": [0.0, 1.0]}

    def key(self) -> str:
        """A name's end that tells this plan from others in one database."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


FULL = Plan(arms=tuple(ARMS), seeds=(1, 2, 3, 4, 5), test=2000)


def problem_rows(name: str, plan: Plan) -> list[dict[str, str | None]]:
    """The rows of one split, with their solutions; no test problem is a validation problem."""
    split, seed = _SPLITS[name]
    count = getattr(plan, name)
    taken = set()
    if name == "test":
        taken = {each.question for each in problems.generate(plan.validation, _SPLITS["validation"][1], "heldout")}
    found = [each for each in problems.generate(count + len(taken), seed, split) if each.question not in taken]
    return problems.solved_rows(found[:count])


def run(plan: Plan, home: Path, server: str | None = None) -> dict[str, Any]:
    """At a service of its own, or at ``server``, which has the miniatures in its registry.

    Start or go on with a study per miniature and see them to their ends. Raises ErrataError and DemoError.
    """
    os.environ["ERRATA_HOME"] = str(home)
    began = time.monotonic()
    with service(server) as errata:
        sets = {name: _set(errata, name, plan) for name in _SPLITS}
        arms, left_out = arms_of(plan.arms, {preset.name for preset in errata.presets.list()})  # type: ignore[arg-type]
        studies = {each: _study(errata, each, plan, sets, arms, home, server) for each in plan.miniatures}
        ended = {each: errata.studies.wait(study.id, on_progress=_Tell(each)) for each, study in studies.items()}
    return {
        "arms": table(ended),
        "left_out": left_out,
        "failed": {each: study.error for each, study in ended.items() if study.error},
        "plan": asdict(plan),
        "studies": {each: study.id for each, study in ended.items()},
        "seconds": round(time.monotonic() - began, 1),
    }


def table(ended: dict[str, Study]) -> dict[str, Any]:
    """The studies' tables by arm and miniature."""
    found: dict[str, Any] = {}
    for miniature, study in ended.items():
        for name, arm in (study.result or {"arms": {}})["arms"].items():
            row = {short: arm["measures"].get(measure) for measure, short in _MEASURES.items()}
            row["against_fine_tuning"] = {
                short: arm["against_control"].get(measure) for measure, short in _MEASURES.items()
            }
            row |= {"trial": arm["trial"], "validation": arm["validation"], "failed": arm["failed"]}
            found.setdefault(name, {})[miniature] = row
    return found


def _set(errata: Errata, name: str, plan: Plan) -> str:
    """The same rows under the same name again are the same set."""
    return errata.problem_sets.create(f"reproduce {name} {plan.key()}", problem_rows(name, plan)).id


def _study(
    errata: Errata,
    miniature: str,
    plan: Plan,
    sets: dict[str, str],
    arms: list[dict[str, Any]],
    home: Path,
    server: str | None,
) -> Study:
    name = f"reproduce {miniature} {plan.key()}"
    there = next((each for each in errata.studies.list() if each.name == name), None)
    if there is not None:
        return there
    _register(errata, miniature, home, own=server is None)
    config = {
        "arms": arms,
        "control": CONTROL if any(arm["name"] == CONTROL for arm in arms) else None,
        "seeds": list(plan.seeds),
        "budget": {"steps": plan.steps, "batch_size": plan.batch_size},
        "evaluation": plan.evaluation(),
    }
    return errata.studies.create(
        sets["train"], test_set=sets["test"], validation_set=sets["validation"], language_model=miniature,
        config=config, name=name,
    )  # fmt: skip


def _register(errata: Errata, miniature: str, home: Path, *, own: bool) -> None:
    if any(each.id == miniature for each in errata.models.list()):
        return
    folder = MODEL if miniature == "miniature" else (home / "confused").resolve()
    if own and not folder.exists():
        _say(f"building {folder} (python -m demo.build_confused)")
        from demo.build_confused import build  # heavy: it loads torch

        build(folder)
    register(errata, miniature, folder, own=own)


class _Tell:
    """A line on standard error whenever another job of the study has ended."""

    def __init__(self, name: str) -> None:
        self._name, self._told = name, (-1, -1)

    def __call__(self, study: Study) -> None:
        now = (study.parts.ended, study.parts.made)
        if now != self._told:
            self._told = now
            _say(f"{self._name}: {study.state}, {now[0]} of {now[1]} jobs ended")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    for name, miniatures in result["arms"].items():
        for miniature, row in miniatures.items():
            if row["failed"]:
                print(f"{name:16} {miniature:10} failed: {row['failed']}")
                continue
            cells = [f"{short} {_percent(row[short])}" for short in _MEASURES.values()]
            gains = row["against_fine_tuning"]
            cells += [
                f"against fine-tuning {short} {_points(gains[short])}"
                for short in ("greedy", "sampled")
                if gains[short]
            ]
            print(f"{name:16} {miniature:10} " + "  ".join(cells))
    for name in result["left_out"]:
        print(f"{name:16} left out: this version has no such preset")


def _percent(cell: dict[str, Any] | None) -> str:
    return f"{100 * cell['estimate']:.1f}" if cell and cell["estimate"] is not None else "?"


def _points(cell: dict[str, Any]) -> str:
    if cell["delta"] is None:
        return "?"
    low, high = cell["interval"]
    return f"{100 * cell['delta']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="five arms, three seeds, 1,000 problems, scored (default)")
    size.add_argument("--full", action="store_true", help="every arm, five seeds, 2,000 problems")
    parser.add_argument("--arms", help=f"comma-separated: {', '.join(ARMS)}")
    parser.add_argument("--miniatures", help="comma-separated: miniature, confused")
    parser.add_argument("--seeds", type=int, help="how many, from 1")
    for name in ("train", "validation", "test", "steps"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--sampled", action="store_true", help="measure by eight samples instead of scores")
    parser.add_argument("--home", type=Path, default=Path("data") / "reproduce", help="where its service keeps all")
    parser.add_argument("--server", help="a service that runs already and knows the miniatures, instead of an own one")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    plan = FULL if args.full else Plan()
    given: dict[str, Any] = {
        name: getattr(args, name) for name in ("train", "validation", "test", "steps") if getattr(args, name)
    }
    given |= {name: tuple(getattr(args, name).split(",")) for name in ("arms", "miniatures") if getattr(args, name)}
    if args.seeds:
        given["seeds"] = tuple(range(1, args.seeds + 1))
    if args.sampled:
        given["sampled"] = True
    result = run(Plan(**{**asdict(plan), **given}), args.home, args.server)
    if args.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
