"""The dashboard's pure parts: where two texts differ, charts, funnels, proofs, and words for people."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pages import diff as diffs
from api.pages import format as text
from api.pages.charts import chart, nice_ticks
from api.pages.diff import Mark, Run, diff, excerpt, plain
from api.pages.format import sentence
from api.pages.jobs import funnel_view
from api.pages.pair import proof_of
from api.pages.rendering import STATIC
from errata.funnel import Funnel
from errata.types import Reason
from tests.dashboard_funnel import funnel


def drawn(runs: tuple[Run, ...]) -> str:
    """Runs as text: [changed], {unchanged part of a changed token}, ^ for a gap."""
    frames = {Mark.SAME: "%s", Mark.TOKEN: "{%s}", Mark.CHANGED: "[%s]", Mark.GAP: "^%s"}
    return "".join(frames[run.mark] % run.text for run in runs)


@pytest.mark.parametrize(
    ("chosen", "rejected", "left", "right"),
    [
        ("6 * 12 = 72 pears", "6 * 12 = 82 pears", "6 * 12 = [7]{2} pears", "6 * 12 = [8]{2} pears"),
        ("72 - 45 = 27", "72 + 45 = 27", "72 [-] 45 = 27", "72 [+] 45 = 27"),
        ("costs 1,200 now", "costs 1,250 now", "costs {1,2}[0]{0} now", "costs {1,2}[5]{0} now"),
        ("24 left", "36 left", "[24] left", "[36] left"),
        ("16 - 3 - 4", "16 - 4", "16[ - 3] - 4", "16^ - 4"),
        ("3 + 4 + 5 = 12", "3 + 4 = 12", "3 + 4[ + 5] = 12", "3 + 4^ = 12"),
        (
            "take 2/3 = 80, or <<120*2/3=80>>80",
            "take 3/2 = 80, or <<120*3/2=80>>80",
            "take [2]/[3] = 80, or <<120*[2]/[3]=80>>80",
            "take [3]/[2] = 80, or <<120*[3]/[2]=80>>80",
        ),
        ("4 + 20 + 7 + 8", "4 + 20  + 8", "4 + 20 [+ 7] + 8", "4 + 20 ^ + 8"),
        ("a big dog", "a dog", "a[ big] dog", "a^ dog"),
        ("3 boxes of it", "3 box of it", "3 {box}[es] of it", "3 {box}^ of it"),
        ("she sells them", "he sells them", "[s]{he} sells them", "^{he} sells them"),
        ("ten pears each", "two apples each", "[ten pears] each", "[two apples] each"),
        ("16 - 3 = 13", "3 - 16 = 13", "[16] - [3] = 13", "[3] - [16] = 13"),
        ("a cafe\u0301 b", "a cafe b", "a {caf}[e\u0301] b", "a {caf}[e] b"),
        ("", "new", "^", "[new]"),
    ],
)
def test_the_difference_is_marked_to_the_character(chosen: str, rejected: str, left: str, right: str) -> None:
    found = diff(chosen, rejected)
    assert (drawn(found.chosen), drawn(found.rejected)) == (left, right)


_words = st.text("ab12 +-=<>.\n\u0301é", max_size=40)


@given(_words, _words)
def test_runs_give_both_texts_back_and_unmarked_text_is_common(chosen: str, rejected: str) -> None:
    found = diff(chosen, rejected)
    assert "".join(run.text for run in found.chosen) == chosen
    assert "".join(run.text for run in found.rejected) == rejected
    unmarked = ["".join(r.text for r in side if r.mark is Mark.SAME) for side in (found.chosen, found.rejected)]
    assert unmarked[0] == unmarked[1]
    marked = any(run.mark is not Mark.SAME for side in (found.chosen, found.rejected) for run in side)
    assert marked == (chosen != rejected)


def test_long_texts_are_compared_by_their_ends_alone() -> None:
    middle = " ".join(str(i) for i in range(diffs.MAX_TOKENS))
    found = diff(f"same {middle} end", f"same {middle[::-1]} end")
    assert [run.mark for run in found.chosen] == [Mark.SAME, Mark.CHANGED, Mark.SAME]


def test_calculator_marks_are_set_aside_and_left_out_of_excerpts() -> None:
    found = diff("so 48/2 = <<48/2=24>>24 clips", "so 48/2 = <<48/2=26>>26 clips")
    assert "".join(run.text for run in found.rejected if run.aside) == "<<48/2=26>>"
    assert drawn(excerpt(found.rejected)) == "so 48/2 = {2}[6] clips"
    assert [run.aside for run in plain("a <<1=1>> b")] == [False, True, False]


@given(st.text("ab ", min_size=0, max_size=300), st.integers(10, 60))
def test_an_excerpt_is_short_and_shows_the_change(around: str, width: int) -> None:
    found = excerpt(diff(around + " 17 " + around, around + " 99 " + around).rejected, max(width, 50))
    assert sum(len(run.text) for run in found) <= max(width, 50) + 2
    assert any(run.mark in (Mark.CHANGED, Mark.GAP) for run in found)


def test_acting_characters_are_written_out_and_long_texts_cut() -> None:
    assert text.visible("a\u202eb\x00c\r\nd") == "a[U+202E]b[U+0000]c\nd"
    assert text.visible("שלום") == "שלום"
    assert len(text.visible("x" * 10**6)) < text.MAX_TEXT + 60
    assert text.short("one\ntwo  " + "w" * 500) == "one two " + "w" * 111 + "…"


@pytest.mark.parametrize(
    ("share", "told"), [(0.0, "0 %"), (0.004, "<1 %"), (0.5, "50 %"), (0.999, "99 %"), (1.0, "100 %"), (None, "–")]
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float | None, told: str) -> None:
    assert text.percent(share) == told


def test_times_sizes_and_numbers_in_words() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert [text.duration(s) for s in (0.4, 59, 60, 185, 7800, 100_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "3 min 5 s",
        "2 h 10 min",
        "1 d 3 h",
    ]
    assert text.ago(now - timedelta(seconds=200), now) == "3 min ago"
    assert text.ago(now + timedelta(seconds=9), now) == "just now"
    assert [text.size(n) for n in (12, 2048, 3_400_000)] == ["12 B", "2.0 KB", "3.4 MB"]
    assert text.decimal(math.nan) == "–"
    assert text.plural(1, "pair") == "1 pair"


def test_a_chart_leaves_out_what_is_not_finite_and_stays_in_its_frame() -> None:
    drawn_chart = chart("Loss", {"train": [(1, 0.5), (2, math.inf), (3, 0.25)], "empty": [(1, math.nan)]})
    assert drawn_chart is not None
    assert [line.name for line in drawn_chart.lines] == ["train"]
    points = [tuple(map(float, point.split(","))) for point in drawn_chart.lines[0].points.split()]
    assert len(points) == 2
    assert all(
        drawn_chart.left <= x <= drawn_chart.right and drawn_chart.top <= y <= drawn_chart.bottom for x, y in points
    )
    assert chart("Loss", {"train": [(1, math.nan)]}) is None
    assert chart("Loss", {"train": [(1, 0.0)]}) is not None


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_ticks_cover_the_range_and_are_few(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    room = 1e-6 * max(abs(low), abs(high), 1e-300)
    assert ticks[0] <= low + room
    assert ticks[-1] >= high - room
    assert 2 <= len(ticks) <= 9


def test_funnels_of_shards_are_added_and_every_loss_has_its_sentence() -> None:
    part = funnel().to_dict()
    view = funnel_view(Funnel.total([part, part]))
    problems, solutions, steps, edits = view.levels
    assert (problems.total, problems.passed, problems.open) == (2, 2, 0)
    assert (solutions.total, solutions.passed) == (6, 4)
    assert [(note.count, note.told) for note in solutions.notes] == [(2, "correct"), (4, "incorrect")]
    assert [(loss.count, sentence(loss.value)) for loss in steps.losses] == [
        (2, "The step only states the final answer.")
    ]
    assert (edits.total, edits.passed) == (6, 6)
    assert [(part.value, part.count) for part in view.by_type] == [("step", 6), ("full", 2)]
    assert sum(spent.prompt + spent.completion for spent in view.tokens) == 2 * 1740
    told = [(one.editor, one.asked, one.proven, one.pairs, one.tokens_per_pair) for one in view.editors]
    assert told == [("words", 4, 1.0, 4, 510.0), ("slip", 2, 1.0, 2, 0.0)]
    assert funnel_view(Funnel()).empty


def test_a_proven_edit_that_was_not_chosen_is_lost() -> None:
    counts = {"edits": {"total": 3, "proven": {"contradiction": 2}, "rejected": {"no_change": 1, "not_chosen": 1}}}
    level = funnel_view(Funnel.from_dict(counts)).levels[3]
    assert (level.total, level.passed, level.open) == (3, 1, 0)


def test_an_unknown_reason_is_shown_by_its_name() -> None:
    assert sentence("brand_new") == "Brand new."
    assert all(sentence(reason) == told for reason, told in ((str(reason), reason.sentence) for reason in Reason))


def test_a_proof_tolerates_details_it_does_not_know() -> None:
    proof = proof_of("divergence", {"rate": 0.875, "low": "?", "high": 2, "original_rate": True, "k": 8}, "step")
    assert [(rate.value, rate.low, rate.high) for rate in proof.rates] == [(0.875, 0.875, 0.875)]
    assert proof.note == "8 continuations from each step."
    assert proof_of("contradiction", {}, "step").equation is None
    assert proof_of(None, {}, "full").sentence.startswith("Two solutions of the same problem")
    assert proof_of("unproven", {"why": "no equation"}, "step").note == "no equation"


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_accessible_contrast(theme: str) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (STATIC / "app.css").read_text(), re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[theme == "dark"]))
    on_pages = [(ink, ground) for ink in ("ink", "ink-2", "ink-3", "error") for ground in ("paper", "surface")]
    on_marks = [("error-ink", "error-strong"), ("error-ink", "error-tint"), ("ink", "chosen-tint"), ("ink", "track")]
    for ink, ground in on_pages + on_marks:
        dark, light = sorted((_luminance(colors[ink]), _luminance(colors[ground])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (theme, ink, ground)
