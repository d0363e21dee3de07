"""What two questions differ in, on pairs that a person would tell apart at sight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.gates.canonical import canonical
from errata.gates.differences import difference

TOM = "Tom has 3 apples. He gives Ann 2 of them. How many apples are left?"


def kind(one: str, other: str) -> str | None:
    """The kind of the difference, which is the same from both sides."""
    found, back = difference(canonical(one), canonical(other)), difference(canonical(other), canonical(one))
    assert found == back
    return None if found is None else found.kind


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (TOM, "exact"),
        ("  Tom has  3 apples.\nHe gives Ann 2 of them. How many apples are left? ", "format"),
        ("TOM HAS 3 APPLES. HE GIVES ANN 2 OF THEM. HOW MANY APPLES ARE LEFT?", "format"),
        ("tom has three apples. he gives ann two of them. how many apples are left?", "format"),
        ("Tom has $3$ apples; He gives Ann \\(2\\) of them. How many apples are left", "format"),
        ("How many apples are left? He gives Ann 2 of them. Tom has 3 apples.", "order"),
        ("He gives Ann 2 of them. How many apples are left? Tom has 3 apples.", "order"),
        ("Mary has 3 apples. She gives Zoë 2 of them. How many apples are left?", "names"),
        ("María José has 3 apples. She gives O'Brien 2 of them. How many apples are left?", "names"),
        ("Ольга has 3 apples. She gives Ελένη 2 of them. How many apples are left?", "names"),
        ("How many apples are left? Mary has 3 apples. She gives Zoë 2 of them.", "names"),
        ("Tom has 4 apples. He gives Ann 2 of them. How many apples are left?", "number_variant"),
        ("Mary has 3 apples. She gives Zoë 1 of them. How many apples are left?", "number_variant"),
        ("Tom has 4 apples. He gives Ann 1 of them. How many apples are left?", None),
        ("Tom has 3 pears. He gives Ann 2 of them. How many pears are left?", None),
        ("Tom has 3 apples. He gives Ann 2 of them. How many apples were there?", None),
    ],
)
def test_variants_of_one_question(other: str, expected: str | None) -> None:
    assert kind(TOM, other) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is $1,000+2$?", "What is \\( 1{,}000 \\,+\\! 2 \\) ?"),
        ("What is $10,\\!000 + 2$?", "What is 10000+2?"),
        ("Find $\\frac12$ of $x^{2}$.", "Find $\\dfrac{1}{2}$ of $x^2$."),
        ("Let $\\left(a+b\\right)=3.50$.", "Let (a + b) = 3.5"),
        ("There are twenty-one boys and three hundred girls.", "There are 21 boys and 300 girls!"),
        ("A well-known 5-year plan", "A well known 5 year plan"),
        ("Is $a \\le b$ for “all” $a$?", "Is $a\\leq b$ for 'all' $a$?"),
        ("小明有５个苹果。", "小明有 5 个苹果."),
    ],
)
def test_ways_to_write_one_text(one: str, other: str) -> None:
    assert kind(one, other) == "format"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("In $\\triangle ABC$, $AB=5$. Find $AC$.", "In $\\triangle PQR$, $PQ=5$. Find $PR$.", "names"),
        ("In $\\triangle ABC$, $AB=5$. Find $AC$.", "In $\\triangle PQR$, $PQ=5$. Find $QR$.", None),
        ("Solve $3x+2=5$ for $x$.", "Solve $3y+2=5$ for $y$.", "names"),
        ("小明有5个苹果，给了小红2个。", "小刚有5个苹果，给了小丽2个。", "names"),
        ("小明有5个苹果，给了小红2个。", "小明有6个苹果，给了小红2个。", "number_variant"),
        ("Ann is older than Bob. Who is older?", "Bob is older than Ann. Who is older?", "names"),
        ("Ann likes Ann.", "Bob likes Eve.", None),
        ("Simplify $3x+2x$.", "Factor $3x+2x$.", None),
        ("Compute $\\sin 60^\\circ$.", "Compute $\\cos 60^\\circ$.", None),
        ("Compute $3+5$.", "Compute $3-5$.", None),
        ("Compute $3^2$.", "Compute $32$.", None),
        ("What day is 3 days after Monday?", "What day is 3 days after Friday?", None),
        ("Arrange the letters of PARABOLA.", "Arrange the letters of ELLIPSE.", None),
        ("He has 3 cats and 5 dogs.", "He has 5 cats and 3 dogs.", None),
        ("Find $5!$ now.", "Find $5$ now.", None),
    ],
)
def test_renamed_points_and_problems_of_their_own(one: str, other: str, expected: str | None) -> None:
    assert kind(one, other) == expected


def test_a_word_or_two_of_a_long_question() -> None:
    long = (
        "A farmer keeps some cows and some hens on a large field behind the old house by the river, and every morning"
        " a neighbour counts the legs that she can see from the window of her kitchen."
    )
    assert kind(long, long.replace("kitchen", "bedroom")) == "wording"
    assert kind(long, long.replace("cows", "goats").replace("river", "lake").replace("morning", "noon")) is None


@given(st.text(max_size=200))
def test_any_text_is_read_and_equals_itself(text: str) -> None:
    assert kind(text, text) == "exact"
    assert kind(text, f" {text} ") == "format"


@given(st.lists(st.sampled_from(["Tom has 3 cats.", "Is it 5?", "We see $x^2=4$.", "Go on!"]), min_size=1, max_size=6))
def test_sentences_may_stand_in_any_order(sentences: list[str]) -> None:
    assert kind(" ".join(sentences), " ".join(reversed(sentences))) in ("exact", "order", "format")
