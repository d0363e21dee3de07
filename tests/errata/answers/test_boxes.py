"""Boxes as models write them; one reader for intake and grading."""

from __future__ import annotations

import pytest

from errata.answers.boxes import final_boxes, find_boxes

BOXES = [
    (r"Thus \boxed{18}.", ["18"]),
    (r"so $\boxed 5$.", ["5"]),
    (r"so $\boxed 2.5$.", ["2.5"]),
    (r"so \(\boxed 5\).", ["5"]),
    (r"so $\fbox{5}$.", ["5"]),
    (r"$\fbox 5$", ["5"]),
    (r"$\boxed\frac{1}{2}$", [r"\frac{1}{2}"]),
    (r"$\boxed{ \frac{1}{2} }$", [r"\frac{1}{2}"]),
    (r"\boxed{\{1, 2\}}", [r"\{1, 2\}"]),
    (r"\boxed{\{1, 2}", [r"\{1, 2"]),
    (r"\boxed{x \\}", [r"x \\"]),
    (r"\boxed{\boxed{5}}", ["5"]),
    (r"\boxed{x = \fbox{5}}", ["x = {5}"]),
    (r"\boxed{2} and \boxed{3}", ["2", "3"]),
    (r"\boxed{2 and \boxed{3}", ["3"]),
    (r"\boxed{5} but then \boxed{6", ["5"]),
    (r"} \boxed{5}", ["5"]),
    (r"\boxed{}", []),
    (r"\boxed", []),
    (r"\boxedaround{5}", []),
    (r"\framebox{5}", []),
    ("no box", []),
]


@pytest.mark.parametrize(("text", "contents"), BOXES)
def test_boxes(text: str, contents: list[str]) -> None:
    boxes = find_boxes(text)
    assert [box.content for box in boxes] == contents
    assert all(text[box.start : box.end].startswith(("\\boxed", "\\fbox")) for box in boxes)


JOINED = [
    (r"$\boxed{2}$ and $\boxed{3}$", "2, 3"),
    (r"$\boxed{2}$, $\boxed{3}$, and $\boxed{5}$.", "2, 3, 5"),
    (r"$x = \boxed{2}$ and $y = \boxed{3}$", "x = 2, y = 3"),
    (r"\(\boxed{2}\) or \(\boxed{3}\)", r"2 \text{ or } 3"),
    (r"- $\boxed{2}$" + "\n" + r"- $\boxed{3}$", "2, 3"),
    (r"$\boxed{\frac{1}{2}}$" + "\n\n" + r"$\boxed{0.5}$", r"\frac{1}{2} \text{ or } 0.5"),
    (r"\boxed{2}\text{ and }\boxed{3}", "2, 3"),
    (r"\boxed{2} \quad \boxed{3}", r"2 \text{ or } 3"),
    (r"It is \boxed{7}.$$- OR -\n\nAgain $\boxed{7}$.", "7"),
    (r"First \boxed{2}. Then it is \boxed{3}.", "3"),
    (r"$\boxed{11}\times\boxed{20}$", "20"),
    (r"So \boxed{5}, that is $\boxed{5}$", "5"),
]


@pytest.mark.parametrize(("text", "content"), JOINED)
def test_boxes_that_one_sentence_lists_are_one_answer(text: str, content: str) -> None:
    box = final_boxes(text)
    assert box is not None
    assert box.content == content
