"""Planning edits and making them: every step offered or named, kinds dealt out fairly, the same each time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.arithmetic import find_equations, tokens_of
from errata.config import resolve
from errata.injection import EditPlan, PlannedEdit, plan_edits
from errata.kinds import Kind, Site, kinds_of
from errata.kinds.plausibility import balanced, sign_weights
from errata.pairs import choose
from errata.prompts import edit_prompt, parse_reply
from errata.proof import Outcome, prove_edit
from errata.rule_edits import random_token_edit, rule_edit
from errata.screening import screen
from errata.seeds import derive_seed
from errata.steps import offered_span, splice, split_steps
from errata.types import Domain, EvidenceKind, Form, Problem, Reason

PROBLEM = Problem("Tom buys 3 pens at 4 dollars and a book for 5. He has 90 dollars. What is left?", "73")
SOLUTION = (
    "Let's think step by step.\nStep 1: Tom pays 3 * 4 + 5 = 17 dollars.\nStep 2: He is happy with it.\n"
    "Step 3: He has 90 - 17 = 73 dollars left.\nStep 4: The answer is \\boxed{73}."
)
FALSE = SOLUTION.replace("= 17", "= 18")


def _plan(preset: str = "rules", solution: str = SOLUTION, seed: int = 1, **overrides: Any) -> EditPlan:
    config = resolve(preset, overrides)
    return plan_edits(solution, split_steps(solution), config, Domain.MATH, seed, PROBLEM)


def _kinds(plan: EditPlan) -> dict[int, str]:
    return {edit.step: edit.kind for edit in plan.edits}


def test_every_step_is_offered_once_or_left_with_a_reason() -> None:
    plan = _plan()
    assert [edit.step for edit in plan.edits] == [0, 2]
    assert plan.skipped == {1: Reason.NO_KIND, 3: Reason.ANSWER_STEP}


def test_a_false_step_is_never_the_chosen_side() -> None:
    assert _plan(solution=FALSE).skipped[0] is Reason.FALSE_STEP
    assert 0 in _kinds(_plan("paper", solution=FALSE))


def test_the_paper_offers_what_its_own_rule_allows() -> None:
    plan = _plan("paper")
    assert plan.skipped == {}
    assert _kinds(plan)[1] == "misreading"
    assert _kinds(plan)[3] == "calculation"


def test_words_are_only_misread_where_the_job_can_show_it() -> None:
    assert _plan("errata").skipped[1] is Reason.NO_KIND
    assert _kinds(_plan("errata", proof={"continuations": {"when": "unproven"}}))[1] == "misreading"
    assert _kinds(_plan("errata", proof={"unproven": "keep"}))[1] == "misreading"


def test_a_rule_made_misreading_turns_one_word_round() -> None:
    solution = "Step 1: More hours are left before noon.\nStep 2: So 3 * 4 = 12."
    steps = split_steps(solution)
    made = {rule_edit(solution, steps, 0, "misreading", seed, Domain.MATH, PROBLEM) for seed in range(60)}
    assert made == {
        "Step 1: Fewer hours are left before noon.\n",
        "Step 1: Less hours are left before noon.\n",
        "Step 1: More minutes are left before noon.\n",
        "Step 1: More hours are used before noon.\n",
        "Step 1: More hours are left after noon.\n",
    }
    assert rule_edit(solution, steps, 1, "misreading", 0, Domain.MATH, PROBLEM) is None
    assert 0 not in _kinds(_plan("rules", solution))
    assert _kinds(_plan("rules", solution, proof={"continuations": {"when": "unproven"}}))[0] == "misreading"


def test_weights_decide_the_kinds() -> None:
    only = {"kinds": {"operator": 1.0}}
    assert {edit.kind for seed in range(20) for edit in _plan(seed=seed, editing=only).edits} == {"operator"}
    heavy = {"kinds": {"operator": 9.0, "calculation": 1.0}, "max_kind_share": 1.0}
    drawn = Counter(edit.kind for seed in range(400) for edit in _plan(seed=seed, editing=heavy).edits)
    assert set(drawn) == {"operator", "calculation"}
    assert 0.85 < drawn["operator"] / drawn.total() < 0.95


def test_a_weight_of_zero_leaves_a_step_without_a_kind() -> None:
    plan = _plan(editing={"kinds": {"omission": 1.0}})
    assert _kinds(plan) == {0: "omission"}
    assert plan.skipped[2] is Reason.NO_KIND


@pytest.mark.parametrize("share", [1.0, 0.99])
def test_weights_count_among_the_kinds_that_apply(share: float) -> None:
    """Step 3 has no third term to leave out: its draw is between the two others, whatever the omission weighs."""
    kinds = {"omission": 96.0, "operator": 3.0, "calculation": 1.0}
    editing = {"kinds": kinds, "max_kind_share": share, "form": {"stands": 1.0}}
    plans = [_plan(seed=seed, editing=editing) for seed in range(400)]
    first, third = (Counter(_kinds(plan)[step] for plan in plans) for step in (0, 2))
    assert 0.93 < first["omission"] / 400 < 0.99
    assert set(third) == {"operator", "calculation"}
    assert 0.68 < third["operator"] / 400 < 0.82


@pytest.mark.parametrize(("consistent", "low", "high"), [(1.0, 0.44, 0.56), (0.25, 0.15, 0.25), (4.0, 0.75, 0.85)])
def test_forms_are_drawn_by_their_weight_where_a_step_can_have_both(consistent: float, low: float, high: float) -> None:
    """Few kinds can be edited consistently here, and they are the unlikeliest; the form has its share all the same."""
    form = {"stands": 1.0, "consistent": consistent}
    kinds = {"calculation": 5.0, "omission": 5.0, "order": 5.0, "substitution": 1.0, "operator": 1.0}
    plans = [_plan("errata", seed=seed, editing={"form": form, "kinds": kinds}) for seed in range(400)]
    for step in (0, 2):
        formed = Counter(edit.form for plan in plans for edit in plan.edits if edit.step == step)
        assert formed.total() == 400
        assert low < formed[Form.CONSISTENT] / 400 < high


def test_a_step_that_cannot_be_edited_consistently_stands() -> None:
    solution = "Schritt 1: Er zahlt 3 * 4 + 5 = 17 und hat 90 Euro.\nSchritt 2: Er hat noch 90 - 17 = 73 Euro.\nA: 73"
    for seed in range(20):
        edits = _plan("errata", solution, seed, editing={"form": {"stands": 1.0, "consistent": 9.0}}).edits
        assert [(edit.step, edit.form) for edit in edits] == [(0, Form.STANDS), (1, Form.STANDS)]


def test_without_a_cap_no_more_kinds_are_tried_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a kind applies is dear to know: edits are made and proven false for it."""
    tried: list[int] = []

    def applies(kind: Kind, _form: Form, site: Site, *_: object) -> PlannedEdit:
        tried.append(site.index)
        return PlannedEdit(site.index, kind.name)

    monkeypatch.setattr("errata.injection._planned", applies)
    _plan("errata")
    assert tried == [0, 1, 2]


def test_a_profile_replaces_the_weights_only_where_the_mix_asks_for_it() -> None:
    profile = {"order": 1.0}
    steps = split_steps(SOLUTION)
    for mix, kinds in (("profile", {"order"}), ("weights", {"calculation"})):
        config = resolve("rules", {"editing": {"mix": mix, "kinds": {"calculation": 1.0}}})
        plan = plan_edits(SOLUTION, steps, config, Domain.MATH, 1, PROBLEM, profile)
        assert {edit.kind for edit in plan.edits} == kinds


def test_a_quota_is_drawn_and_the_rest_named() -> None:
    plans = [_plan(seed=seed, editing={"edits_per_solution": 1}) for seed in range(40)]
    assert all(len(plan.edits) == 1 for plan in plans)
    assert {plan.edits[0].step for plan in plans} == {0, 2}
    assert all(Reason.OVER_QUOTA in plan.skipped.values() for plan in plans)


def test_of_a_long_step_only_its_last_sentences_are_offered() -> None:
    sums = "Step 1: So 3 + 4 = 7. Then 8 - 2 = 6. He walks. He sits. He eats. He sleeps.\n"
    solution = f"{sums}Step 2: The answer is 6."
    assert _plan("errata", solution).skipped[0] is Reason.NO_KIND
    assert 0 in _kinds(_plan("errata", solution, editing={"offered_sentences": 5}))
    assert 0 in _kinds(_plan("rules", solution))
    steps = split_steps(solution)
    start, _ = offered_span(solution, steps[0], 5)
    prompt = edit_prompt("q", solution, steps, 0, "calculation", offered=start)
    assert prompt.assistant_prefix == "```\nStep 1: So 3 + 4 = 7. "
    body = "Then 8 - 2 = 5. He walks. He sits. He eats. He sleeps."
    reply = parse_reply(body, original_step=sums, label=solution[:start])
    assert reply.text == sums.replace("= 6", "= 5")


def test_answer_lines_are_offered_where_the_job_says_so() -> None:
    plan = _plan("random-token", editing={"offer_answer_steps": True})
    assert 3 in _kinds(plan)


@given(st.integers(0, 2**31 - 1), st.sampled_from([0.3, 0.5, 1.0]))
def test_plans_repeat_and_share_their_kinds(seed: int, share: float) -> None:
    solution = "\n".join(f"Step {k}: So {k + 9} * 3 - 5 = {(k + 9) * 3 - 5} coins." for k in range(1, 7))
    named = dict.fromkeys(("calculation", "substitution", "omission", "operator", "order"), 1.0)  # none is capped
    config = resolve("rules", {"editing": {"max_kind_share": share, "kinds": named}})
    steps = split_steps(solution)
    first, second = (plan_edits(solution, steps, config, Domain.MATH, seed, PROBLEM) for _ in range(2))
    assert first == second
    assert len(first.edits) == 6
    counts = Counter(edit.kind for edit in first.edits)
    assert max(counts.values()) <= max(1, round(share * 6))


def test_a_rule_edit_keeps_label_and_separator_and_contradicts_itself() -> None:
    steps = split_steps(SOLUTION)
    for seed in range(10):
        for kind in ("calculation", "substitution", "operator", "omission", "order"):
            edited = rule_edit(SOLUTION, steps, 0, kind, seed, Domain.MATH, PROBLEM)
            assert edited is not None
            assert edited == rule_edit(SOLUTION, steps, 0, kind, seed, Domain.MATH, PROBLEM)
            assert edited.startswith("Step 1: ")
            assert edited.endswith("dollars.\n")
            original = SOLUTION[steps[0].start : steps[0].end]
            assert prove_edit(original, edited).evidence.kind is EvidenceKind.CONTRADICTION
    assert rule_edit(SOLUTION, steps, 1, "calculation", 0, Domain.MATH, PROBLEM) is None


def test_every_sign_comes_in_place_of_another() -> None:
    solution = "Step 1: So 36 - 12 = 24 pens.\nStep 2: That is 24 * 2 / 4 = 12 boxes."
    steps = split_steps(solution)
    made = Counter(rule_edit(solution, steps, 0, "operator", seed, Domain.MATH, PROBLEM) for seed in range(600))
    counts = [made[f"Step 1: So 36 {sign} 12 = 24 pens.\n"] for sign in "*+/"]
    assert sum(counts) == 600
    assert min(counts) > 60


@pytest.mark.parametrize("shares", [(0.28, 0.18, 0.37, 0.17), (0.25, 0.25, 0.25, 0.25), (0.4, 0.1, 0.4, 0.1)])
def test_as_much_of_every_sign_is_written_as_is_replaced(shares: tuple[float, ...]) -> None:
    weights = list(balanced(shares).values())
    for at, share in enumerate(shares):
        rest = sum(weights) - weights[at]
        come = sum(shares[b] * weights[at] / (sum(weights) - weights[b]) for b in range(4) if b != at)
        assert weights[at] * rest == pytest.approx(share, rel=0.02)
        assert come == pytest.approx(share, rel=0.02)


def test_the_sign_fits_the_number_behind_it() -> None:
    (equation,) = find_equations("36 - 100 = -64")
    left, sign, right = tokens_of(equation)[:3]
    assert sign.symbol == "-"
    weights = sign_weights(left, right, {}, latex=False)
    assert weights["/"] == max(weights.values())
    assert sign_weights(left, right, {"+": 90}, latex=False)["+"] > weights["+"]


def test_a_random_token_edit_changes_one_token_of_the_body() -> None:
    steps = split_steps(SOLUTION)
    seen = set()
    for seed in range(60):
        edited = random_token_edit(SOLUTION, steps, 0, seed)
        assert edited is not None
        assert edited.startswith("Step 1: ")
        assert edited != SOLUTION[steps[0].start : steps[0].end]
        seen.add(edited)
        whole = splice(SOLUTION, steps[0], edited)
        assert whole.endswith(SOLUTION[steps[0].end :])
    assert len(seen) > 20
    assert random_token_edit("! ! !", split_steps("! ! !"), 0, 1) is None


@given(st.text(alphabet="ab 12+=.\n*:S", max_size=60), st.integers(0, 99))
def test_any_text_is_planned_and_edited(text: str, seed: int) -> None:
    steps = split_steps(text)
    plan = plan_edits(text, steps, resolve("rules"), Domain.MATH, seed, PROBLEM)
    assert {edit.step for edit in plan.edits} | plan.skipped.keys() == {step.index for step in steps}
    assert len(plan.edits) + len(plan.skipped) == len(steps)
    for edit in plan.edits:
        planned = (edit.step, edit.kind, seed, Domain.MATH, PROBLEM, edit.unit, edit.form)
        assert rule_edit(text, steps, *planned) is not None


@pytest.fixture(scope="module")
def real(shared_data: Path) -> list[tuple[str, str]]:
    """(question, one correct solution) of every real problem that has one with a calculation in it."""
    found = []
    for line in (shared_data / "gsm8k" / "model-solutions-400.jsonl").read_text().splitlines():
        row = json.loads(line)
        brought = [value for value in row.values() if isinstance(value, dict)]
        right = [s["solution"] for s in brought if s["is_correct"] and "<<" in s["solution"]]
        if right:
            found.append((row["question"], right[derive_seed("draw", row["question"]) % len(right)]))
    return found


def test_real_solutions_yield_proven_pairs_of_every_kind(real: list[tuple[str, str]]) -> None:
    """Every step of every drawn solution ends as a proven pair or with a reason; nearly every problem has a pair."""
    config = resolve("rules")
    ends: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    without: list[str] = []
    total = 0
    for question, solution in real:
        steps, problem = split_steps(solution), Problem(question, "")
        total += len(steps)
        plan = plan_edits(solution, steps, config, Domain.MATH, derive_seed("plan", question), problem)
        ends.update(plan.skipped.values())
        proven: list[tuple[str, str]] = []
        for edit in plan.edits:
            index, kind = edit.step, edit.kind
            original = solution[steps[index].start : steps[index].end]
            seed = derive_seed("rule", original)
            edited = rule_edit(solution, steps, index, kind, seed, Domain.MATH, problem, edit.unit, edit.form)
            assert edited is not None
            screened = screen(original, edited, question, config.screening)
            if screened.reason is not None:
                ends[screened.reason] += 1
                continue
            proof = prove_edit(original, edited)
            assert proof.outcome is Outcome.PROVEN
            proven.append((str(index), kind))
        chosen = choose(proven, limit=None, max_kind_share=config.editing.max_kind_share, seed=0)
        ends[Reason.NOT_CHOSEN] += len(proven) - len(chosen)
        ends["pair"] += len(chosen)
        kinds.update(kind for index, kind in proven if index in chosen)
        if not chosen:
            without.append(question)
    assert ends.total() == total
    assert len(without) <= 0.05 * len(real), without
    assert set(kinds) == {"calculation", "substitution", "omission", "operator", "order"}
    for name, kind in kinds_of(Domain.MATH).items():
        assert kind.rule_share == 1 or kinds[name] <= 1.5 * kind.rule_share * kinds.total(), kinds
    assert ends["pair"] >= 2.5 * len(real), ends
