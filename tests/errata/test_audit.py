"""The shortcut audit finds what is there to find, and nothing where both sides look alike."""

from __future__ import annotations

import json
import random

import pytest

from errata.audit import MIN_PROBLEMS, AuditPair, AuditSample, audit, audit_kinds, style


def _pairs(count: int, suffix: str = "", prefix: str = "") -> list[AuditPair]:
    """Additions whose rejected side is off by one either way, so that nothing but arithmetic tells the sides apart."""
    rng = random.Random(1)
    pairs = []
    for at in range(count):
        a, b = rng.randrange(10, 900), rng.randrange(10, 900)
        wrong = a + b + rng.choice([-10, -1, 1, 10])
        pairs.append(AuditPair(f"p{at}", f"So {a} + {b} = {a + b}.", f"{prefix}So {a} + {b} = {wrong}.{suffix}"))
    return pairs


def test_sides_that_differ_in_arithmetic_alone_are_not_told_apart() -> None:
    report = audit(_pairs(400), "step")
    assert report.auc is not None
    assert report.auc < 0.6
    assert report.shortcut is False
    assert "No shortcut" in report.sentence


@pytest.mark.parametrize(
    ("suffix", "prefix", "names"),
    [
        (" Oops", "", {"telling words", "Oops", "characters", "tokens"}),
        ("", "Actually, ", {"telling words", "Actually", "Actually ,", "characters", "tokens"}),
        (" \\boxed{}", "", {"boxed", "\\boxed", "characters", "tokens"}),
        (" ", "", {"characters"}),
    ],
)
def test_a_shortcut_is_found_and_named(suffix: str, prefix: str, names: set[str]) -> None:
    report = audit(_pairs(200, suffix, prefix), "step")
    assert report.auc is not None
    assert report.pairwise is not None
    assert report.shortcut is (report.auc > report.threshold)
    assert report.pairwise > 0.9
    assert {name for name, _ in report.toward_rejected} & names


def test_a_shortcut_on_the_chosen_side_is_one_too() -> None:
    swapped = [AuditPair(p.problem, p.rejected, p.chosen) for p in _pairs(200, " Oops")]
    report = audit(swapped, "step")
    assert report.shortcut
    assert {"Oops", "telling words"} & {name for name, _ in report.toward_chosen}


def test_what_was_learnt_of_a_problem_is_not_asked_of_it() -> None:
    """Each problem's rejected sides carry a word of their own: only leakage between folds could use it."""
    pairs = []
    for at, pair in enumerate(_pairs(100)):
        word = f"word{at}"
        pairs += [AuditPair(pair.problem, pair.chosen + " zzzz", f"{pair.rejected} {word}") for _ in range(6)]
    alone = [AuditPair(f"p{at}", pair.chosen, pair.rejected) for at, pair in enumerate(pairs)]
    grouped, leaking = audit(pairs, "step"), audit(alone, "step")
    assert grouped.auc is not None
    assert leaking.auc is not None
    assert "word1" not in {name for name, _ in grouped.toward_rejected[:1]}
    assert leaking.auc >= grouped.auc


def test_a_rejected_side_that_is_always_longer_is_found_at_any_length() -> None:
    """Texts of several thousand characters: lengths are those of the whole side, although n-grams are not."""
    long = [
        AuditPair(p.problem, p.chosen + " word" * (1000 + at % 90), p.rejected + " word" * (1100 + at % 90))
        for at, p in enumerate(_pairs(60))
    ]
    report = audit(long, "full")
    assert report.shortcut
    assert report.as_dict()["warning"] == report.sentence
    assert {"characters", "tokens"} <= {name for name, _ in report.toward_rejected[:3]}
    assert audit(_pairs(60), "step").as_dict()["warning"] is None


def test_too_few_problems_say_nothing() -> None:
    report = audit(_pairs(MIN_PROBLEMS - 1), "full")
    assert (report.auc, report.shortcut) == (None, None)
    assert "Too few problems" in report.sentence


def test_equal_texts_and_texts_without_words_are_survived() -> None:
    pairs = [AuditPair(f"p{at}", "same", "same") for at in range(40)]
    assert audit(pairs, "step").pairwise == 0.5
    blank = [AuditPair(f"p{at}", " ", "\n") for at in range(40)]
    assert audit(blank, "step").auc is not None


def test_the_report_is_json_and_the_same_each_time() -> None:
    first, second = audit(_pairs(60), "step").as_dict(), audit(_pairs(60), "step").as_dict()
    assert json.loads(json.dumps(first)) == json.loads(json.dumps(second))
    assert first["pairs"] == first["problems"] == 60


def test_the_sample_depends_on_content_and_not_on_order() -> None:
    pairs = _pairs(300)
    kept = []
    for order in (pairs, pairs[::-1]):
        sample = AuditSample(limit=50)
        for pair in order:
            sample.add(pair)
        kept.append(sample.pairs())
    assert kept[0] == kept[1]
    assert len(kept[0]) == 50
    positions = [pairs.index(pair) for pair in kept[0]]
    assert min(positions) < 60
    assert max(positions) > 240


def test_a_sample_of_pairs_with_equal_hashes_does_not_depend_on_their_order() -> None:
    """Hashes have 31 bits: of a million pairs some have the same."""
    offered = [(at % 3, f"problem {at}", f"chosen {at}", "rejected") for at in range(60)]
    samples = []
    for order in (offered, offered[::-1], offered[1::2] + offered[::2]):
        sample = AuditSample(limit=30)
        for pair in order:
            sample.offer(*pair)
        assert sample.offered == 60
        samples.append(sample.pairs())
    assert samples[0] == samples[1] == samples[2]
    assert sum(int(pair.problem.split()[1]) % 3 == 0 for pair in samples[0]) == 20


def test_style_counts_what_its_names_say() -> None:
    assert style("Wait, 3  + 4 = \\boxed{7}\n<<3+4=7>>") == [34.0, 19.0, 1.0, 6.0, 1.0, 1.0, 2.0, 1.0, 1.0]


def test_each_kind_and_form_is_audited_alone() -> None:
    """Pooled, a shortcut in one kind is hidden by the others."""
    clean, spoilt, few = AuditSample(), AuditSample(), AuditSample()
    for pair in _pairs(1200):
        clean.add(pair)
    for pair in _pairs(300, " Oops"):
        spoilt.add(pair)
    for pair in _pairs(299):
        few.add(pair)
    groups = {("operator", "stands"): spoilt, ("calculation", "stands"): clean, ("order", "consistent"): few}
    first, second = audit_kinds(groups)
    assert (first["kind"], first["form"], first["pairs"], first["shortcut"]) == ("calculation", "stands", 1200, False)
    assert (second["kind"], second["pairs"], second["shortcut"]) == ("operator", 300, True)
    assert second["auc"] > 0.9
    assert second["clues"]
    json.dumps([first, second])
