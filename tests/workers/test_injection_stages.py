"""The real stages on brought solutions, from samples to pairs: no language model, the real judge, SQLite."""

from __future__ import annotations

import json
from itertools import pairwise

from sqlalchemy import select

from errata.types import Domain
from models.jobs import EditRow, SolutionRow
from tests.workers.injection_jobs import PROBLEMS, Posted, pairs_of, run_job
from workers.runner import Services


def test_the_rules_preset_ends_in_proven_pairs(services: Services) -> None:
    funnel = run_job(services, "rules")
    pairs = pairs_of(services)
    assert len(pairs) >= PROBLEMS
    proofs = {(pair.form, pair.evidence_kind) for pair in pairs}
    assert ("stands", "contradiction") in proofs
    assert proofs <= {("stands", "contradiction"), ("consistent", "contradiction"), ("consistent", "replay")}
    assert {pair.editor for pair in pairs} == {"rule"}
    assert len(pairs_of(services, "full")) == PROBLEMS
    for pair in pairs:
        assert pair.chosen != pair.rejected
        assert pair.start == len(pair.prefix)
    assert funnel.counts["samples"]["verdicts"] == {"correct": PROBLEMS, "incorrect": PROBLEMS}
    assert "first_errors" not in funnel.counts["samples"]


def test_the_profile_of_the_wrong_samples_sets_the_mix(services: Services) -> None:
    """Every wrong sample writes + for *: the profile says so, and operators are drawn most."""
    editing = {"mix": "profile", "max_kind_share": 1.0, "form": {"stands": 1.0}}
    funnel = run_job(services, "rules", editing=editing, shard_size=PROBLEMS)
    assert funnel.counts["samples"]["first_errors"] == {"operator": PROBLEMS, "unclassified": 0}
    drawn = {kind: counts["total"] for kind, counts in funnel.counts["edits"]["by_kind"].items()}
    assert drawn["operator"] > 2 * max(count for kind, count in drawn.items() if kind != "operator")


def test_the_profile_brings_back_no_kind_the_job_leaves_out(services: Services) -> None:
    mix = {"mix": "profile", "kinds": {"calculation": 1.0, "substitution": 1.0}, "max_kind_share": 1.0}
    funnel = run_job(services, "rules", editing=mix)
    assert set(funnel.counts["edits"]["by_kind"]) <= {"calculation", "substitution"}
    assert pairs_of(services)


def test_edits_are_planned_with_the_verdicts(services: Services) -> None:
    """Where no engine waits. The drawn solution alone has a plan, and every edit is one of its plan's."""
    run_job(services, "rules")
    with services.db.read() as session:
        rows = list(session.scalars(select(SolutionRow)))
        edits = {(e.solution_id, e.step_index, e.kind) for e in session.scalars(select(EditRow))}
    assert {row.role for row in rows if row.plan is not None} == {"correct"}
    assert edits == {(row.id, *edit[:2]) for row in rows for edit in (row.plan or {"edits": []})["edits"]}


def test_full_only_edits_nothing(services: Services) -> None:
    funnel = run_job(services, "full-only")
    assert funnel.counts["edits"]["total"] == 0
    assert funnel.counts["pairs"]["by_type"] == {"full": PROBLEMS}


def test_random_tokens_are_kept_unproven_and_said_to_be(services: Services) -> None:
    funnel = run_job(services, "random-token")
    pairs = pairs_of(services)
    assert pairs
    assert {pair.evidence_kind for pair in pairs} <= {"contradiction", "unproven"}
    assert funnel.counts["pairs"]["by_evidence"]["unproven"] > 0
    with services.db.read() as session:
        edits = list(session.scalars(select(EditRow)))
    assert all(edit.edited != edit.original for edit in edits if edit.reason is None)


NAMES, PETS = ("Ann", "Bob", "Cy"), ("cat", "dog", "owl")


def _puzzles() -> list[Posted]:
    """Rows of houses with two clues each that leave one grid; a right solution and one with two pets exchanged."""
    posted = []
    for turn in range(6):
        names = [NAMES[(turn + k) % 3] for k in range(3)]
        pets = [PETS[(turn // 2 + k) % 3] for k in range(3)]
        grid = {name: {"house": at + 1, "pet": pet} for at, (name, pet) in enumerate(zip(names, pets, strict=True))}
        clues = [
            {"kind": "is", "entity": name, "attribute": "house", "value": at + 1, "text": f"{name} lives in {at + 1}."}
            for at, name in enumerate(names)
        ]
        for left, right in pairwise(pets):
            text = f"The {left} lives left of the {right}."
            clues.append({"kind": "before", "a": ["pet", left], "b": ["pet", right], "by": "house", "text": text})
        wrong = {**grid, names[0]: grid[names[0]] | {"pet": pets[1]}, names[1]: grid[names[1]] | {"pet": pets[0]}}
        told = "First the houses are given.\nThen the pets follow from left to right.\nThe grid:\n```json\n{}\n```"
        solutions = [told.format(json.dumps(answer, indent=1)) for answer in (grid, wrong)]
        question = f"Puzzle {turn}. " + " ".join(str(clue["text"]) for clue in clues)
        posted.append(Posted(question, json.dumps(grid), solutions, {"clues": clues}))
    return posted


def test_logic_ends_in_pairs_whose_rejected_grid_breaks_a_clue(services: Services) -> None:
    puzzles = _puzzles()
    funnel = run_job(services, "rules", puzzles, Domain.LOGIC)
    assert funnel.counts["samples"]["verdicts"] == {"correct": 6, "incorrect": 6}
    assert funnel.counts["edits"]["proven"] == {"verifier": 6}
    assert funnel.counts["pairs"]["by_type"] == {"step": 6, "full": 6}
    for pair in pairs_of(services):
        assert pair.evidence_kind == "verifier"
        assert (pair.evidence or {})["report"].startswith("breaks clue")
        [posted] = [p for p in puzzles if p.question == pair.question]
        assert pair.prefix + pair.chosen == posted.solutions[0]
        rejected = json.loads(pair.rejected.split("```json\n")[1].split("\n```")[0])
        assert rejected != json.loads(posted.gold)
        assert sorted(rejected) == sorted(NAMES)
        # Independently of the verifier: what the clues were made from no longer holds.
        houses = {name: row["house"] for name, row in json.loads(posted.gold).items()}
        order = [row["pet"] for row in sorted(rejected.values(), key=lambda row: int(row["house"]))]
        right = [row["pet"] for row in sorted(json.loads(posted.gold).values(), key=lambda row: int(row["house"]))]
        assert order != right or any(row["house"] != houses[name] for name, row in rejected.items())


CODE: dict[str, tuple[str, str]] = {
    "count_above": (
        "def count_above(values, limit):\n    total = 0\n    for value in values:\n        if value > limit:\n"
        "            total += 1\n    return total\n",
        "assert count_above([1, 5, 9, 4], 4) == 2\nassert count_above([], 1) == 0",
    ),
    "last_index": (
        "def last_index(items, wanted):\n    for i in range(len(items) - 1, -1, -1):\n"
        "        if items[i] == wanted:\n            return i\n    return -1\n",
        "assert last_index([3, 1, 3, 2], 3) == 2\nassert last_index([3], 3) == 0\nassert last_index([], 3) == -1",
    ),
    "leap": (
        "def leap(year):\n    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)\n",
        "assert [y for y in (1900, 1996, 2000, 2023, 2024) if leap(y)] == [1996, 2000, 2024]",
    ),
}


def test_code_ends_in_pairs_whose_rejected_line_fails_the_tests(services: Services) -> None:
    wrong = "```python\ndef {}(*given):\n    return None\n```\n"
    posted = [
        Posted(f"Write {name}.", "", [f"So:\n```python\n{code}```\n", wrong.format(name)], {"tests": [tests]})
        for name, (code, tests) in CODE.items()
    ]
    funnel = run_job(services, "rules", posted, Domain.CODE)
    assert funnel.counts["samples"]["verdicts"] == {"correct": 3, "incorrect": 3}
    pairs = pairs_of(services)
    assert {pair.question for pair in pairs} == {f"Write {name}." for name in CODE}
    assert len(pairs) == funnel.counts["edits"]["proven"]["verifier"] >= 4
    for pair in pairs:
        code, tests = CODE[pair.question.removeprefix("Write ").removesuffix(".")]
        assert pair.evidence_kind == "verifier"
        assert pair.chosen.count("\n") == pair.rejected.count("\n") == 1
        at = len(pair.prefix) - len("So:\n```python\n")
        assert code[at:].startswith(pair.chosen)
        edited = code[:at] + pair.rejected + code[at + len(pair.chosen) :]
        assert not _passes(edited, tests)
        assert _passes(code, tests)


def _passes(code: str, tests: str) -> bool:
    """Our own few lines, run without the verifier."""
    try:
        exec(f"{code}\n{tests}", {})
    except Exception:
        return False
    return True
