"""What a real model's edits are worth: ``python -m bench.real_model FOLDER [--json]``, ``make test-real MODEL=FOLDER``.

The whole service, embedded, edits correct solutions with this model: those that a problem file brings, and as many as
the model solves itself. Each row is one way of editing, over the same solutions:

    words   the preset `errata` without `editing.fallback`: what is asked in words alone
    free    the same, and no attempt is decoded under a frame
    slip    the preset `slip`: the model's own likeliest errors
    rare    the same without `min_probability`: what is lost to that bound; only where asked for (`--rows`)
    preset  the preset `errata` as it is
    paper   the preset `paper`, but for problems without an incorrect solution, and for edits that nothing proves

``edits``: steps that were to be edited. ``kept_share``: of these, proven edits. ``by_kind``: both, by error kind.
``solved_with_pair``: share of the solved problems with a step pair. Tokens are those of the stage `edit`, by step pair.
``seconds`` is the job from start to end, without the model's load where one job went before. ``own``: how the model
solved. The exit status is 1 where a job fails, or where a share is below what ``--least`` asks for.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.real_data import Rows, default_file, read
from bench.service import Service, report, running, unwind_when_told
from errata.types import EvidenceKind
from tests.processes import ROOT

Config = dict[str, Any]
ROWS: dict[str, tuple[str, Config]] = {
    "words": ("errata", {"editing": {"fallback": []}}),
    "free": ("errata", {"editing": {"fallback": [], "structured": "never"}}),
    "slip": ("slip", {}),
    "rare": ("slip", {"editing": {"slips": {"min_probability": 0.0}}}),
    "preset": ("errata", {}),
    # Brought solutions have no incorrect one beside them.
    "paper": ("paper", {"selection": {"require_both": False}}),
}
_ALWAYS = tuple(name for name in ROWS if name != "rare")
_JOB_SECONDS = 4 * 3600.0
_STEPS_ALONE = {"pairs": {"full": False}, "shard_size": 64, "seed": 1}


def _vllm_python() -> str | None:
    """The interpreter with vLLM: ERRATA_VLLM_PYTHON, or what `make test-vllm` builds; None without either."""
    built = ROOT / ".venv-vllm" / "bin" / "python"
    return os.environ.get("ERRATA_VLLM_PYTHON") or (str(built) if built.exists() else None)


def chosen_engine(asked: str) -> tuple[str, dict[str, str]]:
    """The engine that ``--engine`` means, and the environment variables of a service with it and with no hub.

    Ends the program without vLLM.
    """
    python = _vllm_python()
    engine = asked if asked != "auto" else "vllm" if python else "transformers"
    if engine == "vllm" and python is None:
        raise SystemExit("--engine vllm: run `make test-vllm` once, or set ERRATA_VLLM_PYTHON")
    return engine, {"HF_HUB_OFFLINE": "1", **({"ERRATA_VLLM_PYTHON": python} if engine == "vllm" and python else {})}


@contextmanager
def served(engine: str, folder: Path, gguf: Path | None, batch: int = 16) -> Iterator[tuple[str, Config]]:
    """The registry entry's engine and settings for the model; a llama.cpp server runs as long as the block.

    ``batch``: sequences that transformers decodes together.
    """
    if engine == "llamacpp":
        from tests.llamacpp_server import LlamaServer  # needs xllamacpp, which the other engines do without

        if gguf is None:
            raise SystemExit("--engine llamacpp: name the model's GGUF file with --gguf")
        with LlamaServer(gguf, context=2048, slots=8) as server:
            yield "openai", server.config(tokenizer=str(folder), concurrency=8)
    elif engine == "vllm":
        limits = {"max_context": 2048, "max_sequences": 64, "kv_cache_memory_bytes": 1 << 30, "block_size": 32}
        yield "vllm", {"path": str(folder), "dtype": "bfloat16", "enforce_eager": "true", **limits}
    else:
        yield "transformers", {"path": str(folder), "dtype": "bfloat16", "batch_size": batch, "max_context": 2048}


class Run:
    """Jobs of one model on one service."""

    def __init__(self, service: Service, shown: int) -> None:
        self._service, self._shown = service, shown

    def own_solutions(self, problems: Rows, samples: int) -> tuple[dict[str, Any], Rows]:
        """How the model solves the problems, and its correct solutions, by the problem's place."""
        posted = self._service.add_problems(problems)
        config = {**_STEPS_ALONE, "sampling": {"samples": samples, "max_tokens": 512}}
        # Rules edit at no cost: the samples are what is wanted of this job.
        job = self._job(posted, "rules", config)
        places = {row["id"]: row["position"] for row in self._service.all(f"/v1/problem-sets/{posted}/problems")}
        drawn = self._service.all(f"/v1/injection-jobs/{job['id']}/solutions?verdict=correct")
        solutions = [
            {"problem": places[row["problem"]], "source": "own", "text": row["text"], "label": True}
            for row in drawn
            if row["role"] == "correct"
        ]
        counts = job["funnel"]
        told = {
            "problems": counts["problems"]["total"],
            "solved": counts["problems"]["kept"],
            "samples": counts["samples"]["total"],
            "verdicts": counts["samples"]["verdicts"],
            "generated_tokens": counts["tokens"]["sample"]["completion"],
            "seconds": _seconds(job),
            "advice": job.get("advice"),
        }
        return told, solutions

    def edited(self, problem_set: str, name: str) -> dict[str, Any]:
        """The figures of one row over one problem set, as counts that add up."""
        preset, config = ROWS[name]
        job = self._job(problem_set, preset, {**_STEPS_ALONE, **config, "sampling": {"source": "brought"}})
        pairs = self._service.all(f"/v1/pairs?job={job['id']}&type=step")
        self._show(name, pairs)
        self._show_lost(name, job["id"])
        counts = job["funnel"]
        spent = counts["tokens"].get("edit", {})
        return {
            "edits": counts["edits"]["total"],
            "kept": _proven(counts["edits"]["proven"]),
            "by_kind": {
                kind: Counter(edits=found.get("total", 0), kept=found.get("proven", 0))
                for kind, found in counts["edits"]["by_kind"].items()
            },
            "solved": counts["problems"]["kept"],
            "with_pair": len({pair["problem"] for pair in pairs}),
            "pairs": len(pairs),
            "generated": spent.get("completion", 0),
            "prompt": spent.get("prompt", 0),
            "rejected": Counter(counts["edits"]["rejected"]),
            "by_editor": {
                editor: Counter({name: count for name, count in found.items() if isinstance(count, int)})
                for editor, found in counts["edits"].get("by_editor", {}).items()
            },
            "seconds": _seconds(job),
        }

    def _job(self, problem_set: str, preset: str, config: Config) -> dict[str, Any]:
        body = {"problem_set": problem_set, "language_model": "real", "preset": preset, "config": config}
        _, [job] = self._service.run([body], _JOB_SECONDS)
        return job

    def _show(self, name: str, pairs: Sequence[Mapping[str, Any]]) -> None:
        """Pairs to read by eye, spread over all of them."""
        step = max(1, len(pairs) // self._shown) if self._shown else 0
        for pair in pairs[::step][: self._shown] if step else ():
            by = f"{pair.get('editor')}, {pair['error_kind']}, {pair.get('form')}, {pair['evidence_kind']}"
            print(f"--- {name}: {by}\n- {pair['chosen'].strip()}\n+ {pair['rejected'].strip()}", file=sys.stderr)

    def _show_lost(self, name: str, job: str) -> None:
        """Edits that were not kept, each with its reason and the step as it stands, as many as pairs are shown."""
        edits = self._service.all(f"/v1/injection-jobs/{job}/edits") if self._shown else []
        lost = [edit for edit in edits if edit["reason"]]
        for edit in lost[: self._shown]:
            print(f"--- {name}, not kept: {edit['editor']}, {edit['kind']}, {edit['reason']}\n"
                  f"- {edit['original'].strip()}\n+ {(edit['edited'] or '').strip()}", file=sys.stderr)  # fmt: skip


def _proven(by_evidence: Mapping[str, int]) -> int:
    return sum(count for kind, count in by_evidence.items() if kind != EvidenceKind.UNPROVEN)


def _seconds(job: Mapping[str, Any]) -> float:
    ended, began = (datetime.fromisoformat(job[f"{name}_at"]) for name in ("finished", "started"))
    return round((ended - began).total_seconds(), 1)


def figures(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row's figures over all of its sources."""

    def total(name: str) -> Any:
        return sum(part[name] for part in parts)

    def merged(name: str) -> dict[str, dict[str, int]]:
        keys = sorted({key for part in parts for key in part[name]})
        return {key: dict(sum((part[name].get(key, Counter()) for part in parts), Counter())) for key in keys}

    return {
        "edits": total("edits"),
        "kept_share": _share(total("kept"), total("edits")),
        "by_kind": {
            kind: {"edits": found.get("edits", 0), "kept": found.get("kept", 0)}
            for kind, found in merged("by_kind").items()
        },
        "solved_with_pair": _share(total("with_pair"), total("solved")),
        "generated_tokens_per_pair": _share(total("generated"), total("pairs"), 1),
        "prompt_tokens_per_pair": _share(total("prompt"), total("pairs"), 1),
        "rejected": dict(sum((part["rejected"] for part in parts), Counter())),
        "by_editor": merged("by_editor"),
        "seconds": round(total("seconds"), 1),
    }


def _share(part: int, whole: int, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None


def measure(run: Run, args: argparse.Namespace) -> dict[str, Any]:
    """Every row over brought and own solutions."""
    problems, brought = read(args.problems, args.count)
    sources = {"brought": (problems[: args.brought], [row for row in brought if row["problem"] < args.brought])}
    result: dict[str, Any] = {}
    if args.own:
        result["own"], own = run.own_solutions(problems[: args.own], args.samples)
        sources["own"] = (problems[: args.own], own)
    sets = {name: run._service.add_problems(*found) for name, found in sources.items() if found[1]}
    for name in args.rows.split(","):
        parts = {source: run.edited(posted, name) for source, posted in sets.items()}
        result[name] = figures(list(parts.values()))
        result[name]["sources"] = {source: figures([part])["kept_share"] for source, part in parts.items()}
        print(f"{name}: {result[name]}", file=sys.stderr)
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of the model in Hugging Face's layout")
    parser.add_argument("--engine", choices=("auto", "vllm", "transformers", "llamacpp"), default="auto")
    parser.add_argument("--gguf", type=Path, help="the same model's GGUF file, for --engine llamacpp")
    parser.add_argument("--problems", type=Path, default=default_file(), help="JSON lines; default: the GSM8K sample")
    parser.add_argument("--count", type=int, default=1000, help="problems read")
    parser.add_argument("--brought", type=int, default=60, help="of these, how many bring their solution")
    parser.add_argument("--own", type=int, default=120, help="of these, how many the model solves itself; 0: none")
    parser.add_argument("--samples", type=int, default=4, help="samples for each of these")
    parser.add_argument("--rows", default=",".join(_ALWAYS), help="which rows, with commas between")
    parser.add_argument("--least", action="append", default=[], metavar="ROW=SHARE", help="lowest kept_share allowed")
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="pairs, and lost edits, of each row to read (stderr)"
    )
    parser.add_argument("--batch", type=int, default=16, help="sequences that transformers decodes together")
    parser.add_argument("--home", type=Path, help="an empty folder for the service's files, to be looked at later")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, which it does anyway")
    args = parser.parse_args()
    if not (args.model / "config.json").is_file():
        parser.error(f"{args.model} is no model folder: it has no config.json (make test-real MODEL=FOLDER)")
    if unknown := set(args.rows.split(",")) - set(ROWS):
        parser.error(f"--rows: there is no row {sorted(unknown)[0]!r}; give some of {', '.join(ROWS)}")
    return args


def _missed(result: Mapping[str, Any], least: Sequence[str]) -> list[str]:
    """What was asked for and is not reached."""
    asked = [(row, float(share)) for row, _, share in (each.partition("=") for each in least)]
    return [
        f"{row}: {result[row]['kept_share']} of {share}" for row, share in asked if result[row]["kept_share"] < share
    ]


def main() -> None:
    """Command line."""
    args = _arguments()
    unwind_when_told()
    engine, more = chosen_engine(args.engine)
    with ExitStack() as stack:
        home = args.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kind, settings = stack.enter_context(served(engine, args.model.resolve(), args.gguf, args.batch))
        service = stack.enter_context(running(home, embedded=True, variables=more))
        service.add_model("real", settings, engine=kind)
        result = measure(Run(service, args.show), args)
    report({"benchmark": "real_model", "model": args.model.name, "engine": engine, **result})
    if missed := _missed(result, args.least):
        raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
