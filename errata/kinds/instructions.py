"""What each error kind asks the editing model to do, worded once per prompt layout.

Part of the prompt version: a changed sentence is a new version, since stored edits name the prompt they came from.
Our own words for the kinds of arXiv 2410.06638, section 3.1 and appendix; ``logic`` and ``code`` kinds are ours.
"""

from __future__ import annotations

from errata.types import Domain

INSTRUCTIONS: dict[Domain, dict[str, str]] = {
    Domain.MATH: {
        "calculation": "Change one number in this step so that a calculation is wrong.",
        "substitution": "Change one number or symbol in this step so that a wrong value is substituted.",
        "omission": "Delete one term of a calculation in this step.",
        "operator": "Change one operation sign in this step.",
        "order": "Swap two terms of a calculation in this step.",
        "misreading": "Change a few words in this step so that it misreads the question.",
    },
    Domain.LOGIC: {
        "constraint": "Change this step so that it misstates one of the given constraints.",
        "entity": "Replace one entity in this step by another one of the puzzle.",
    },
    Domain.CODE: {
        "off_by_one": "Change one bound or index in this step by one.",
        "comparison": "Change one comparison operator in this step.",
        "wrong_variable": "Use one wrong variable in this step.",
        "dropped_guard": "Remove one guard or condition from this step.",
        "operator": "Change one arithmetic or logical operator in this step.",
    },
}
INSTRUCTIONS[Domain.CHOICE] = INSTRUCTIONS[Domain.MATH]
