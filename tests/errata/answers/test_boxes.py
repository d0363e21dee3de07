"""Boxes as models write them; one reader for intake and grading."""

from __future__ import annotations

import pytest

from errata.answers.boxes import find_boxes, last_box

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
    assert last_box(text) == (contents[-1] if contents else None)
    assert all(text[box.start : box.end].startswith(("\\boxed", "\\fbox")) for box in boxes)
