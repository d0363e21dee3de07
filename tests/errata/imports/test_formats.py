"""Rows of others: every convention of prompts and sides, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.imports.config import ImportConfig, checked_mapping
from errata.imports.exports import exports
from errata.imports.formats import known_format, mapped
from errata.imports.pairing import Pairing
from errata.imports.rows import (
    Imported,
    ImportedPair,
    ImportedSide,
    as_row,
    check,
    plain_prompt,
    prompt_messages,
    with_gold,
)
from errata.imports.turns import Ask, RowProblem, dialogue
from errata.prompts import solve_prompt

LIMIT = 1_000


def read(row: dict[str, Any], **config: Any) -> Imported:
    known = known_format(None, row)
    assert known is not None, row
    found = known.read(row, ImportConfig(**config))
    check(found, LIMIT)
    return found


def pair(row: dict[str, Any], **config: Any) -> ImportedPair:
    found = read(row, **config)
    assert isinstance(found, ImportedPair)
    return found


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "S"}
SIDES = {"chosen": "good", "rejected": "bad"}
TALK = [user("Q1"), assistant("A1"), user("Q2")]
#: A row, and the messages that its prompt is; None: a text that stands as it is.
PROMPTS: list[tuple[dict[str, Any], list[dict[str, str]] | None]] = [
    ({"prompt": "Q", **SIDES}, [user("Q")]),
    ({"prompt": [user("Q")], "chosen": [assistant("good")], "rejected": [assistant("bad")]}, [user("Q")]),
    ({"prompt": [SYSTEM, user("Q")], **SIDES}, [SYSTEM, user("Q")]),
    ({"prompt": TALK, "chosen": [assistant("good")], "rejected": [assistant("bad")]}, TALK),
    ({"chosen": [*TALK, assistant("good")], "rejected": [*TALK, assistant("bad")]}, TALK),
    ({"prompt": "Q", "chosen": [user("Q"), assistant("good")], "rejected": [user("Q"), assistant("bad")]}, [user("Q")]),
    ({"system": "S", "question": "Q", **SIDES}, [SYSTEM, user("Q")]),
    ({"instruction": "Q", "input": "about x", **SIDES}, [user("Q\n\nabout x")]),
    ({"prompt": json.dumps([user("Q")]), **SIDES}, [user("Q")]),
    (
        {
            "prompt": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        [user("Q")],
    ),
    ({"prompt": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}], **SIDES}, [user("Q")]),
    ({"prompt": [{"role": "developer", "content": "S"}, user("Q")], **SIDES}, [SYSTEM, user("Q")]),
    ({"chosen": "\n\nHuman: Q\n\nAssistant: good", "rejected": "\n\nHuman: Q\n\nAssistant: bad"}, [user("Q")]),
    (
        {
            "chosen": "\n\nHuman: Q1\n\nAssistant: A1\n\nHuman: Q2\n\nAssistant: good",
            "rejected": "\n\nHuman: Q1\n\nAssistant: A1\n\nHuman: Q2\n\nAssistant: bad",
        },
        TALK,
    ),
    ({"prompt": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n", **SIDES}, None),
    ({"chosen": "Question: Q\nAnswer: good", "rejected": "Question: Q\nAnswer: bad"}, None),
    (
        {
            "input": {"messages": TALK},
            "preferred_output": [assistant("good")],
            "non_preferred_output": [assistant("bad")],
        },
        TALK,
    ),
]


@pytest.mark.parametrize(("row", "messages"), PROMPTS)
def test_prompts(row: dict[str, Any], messages: list[dict[str, str]] | None) -> None:
    found = pair(row)
    stored = as_row(found)
    assert prompt_messages(stored) == messages
    assert (found.chosen[-4:], found.rejected[-3:]) == ("good", "bad")
    assert not found.is_step
    if messages is None:
        assert (stored["prompt_text"] or "").count("Q") >= 1


def test_a_prompt_that_is_a_text_is_trained_on_as_asked() -> None:
    row = {"prompt": "Q", **SIDES}
    message, text = as_row(pair(row)), as_row(pair(row, prompts="text"))
    assert (message["prompt_messages"], text["prompt_messages"], text["prompt_text"]) == ([user("Q")], None, "Q")
    # Others' trainers get the file's own prompt in either case.
    assert plain_prompt(message) == plain_prompt(text) == "Q"
    marked = {"prompt": "[INST] Q [/INST]", **SIDES}
    assert as_row(pair(marked))["prompt_messages"] is None
    assert as_row(pair(marked, prompts="message"))["prompt_messages"] == [user("[INST] Q [/INST]")]
    talk = {"chosen": "\n\nHuman: Q\n\nAssistant: good", "rejected": "\n\nHuman: Q\n\nAssistant: bad"}
    kept = pair(talk, prompts="text")
    assert (kept.ask.text, kept.chosen, kept.rejected) == ("\n\nHuman: Q\n\nAssistant:", " good", " bad")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "Q", "chosen": "a", "rejected": "a"}, "are equal"),
    ({"prompt": "Q", "chosen": "a", "rejected": " a\n"}, "white space only"),
    ({"prompt": "Q", "chosen": "", "rejected": "a"}, "'chosen' is empty"),
    ({"prompt": "  ", **SIDES}, "'prompt' is empty"),
    ({"prompt": None, **SIDES}, "no 'prompt'"),
    ({"prompt": "Q", "chosen": None, "rejected": "a"}, "'chosen' is missing"),
    ({"prompt": 3, **SIDES}, "neither a text nor"),
    ({"prompt": "Q", "chosen": "a" * (LIMIT + 1), "rejected": "b"}, "longer than"),
    ({"prompt": [user("Q"), assistant("A")], **SIDES}, "does not end with a user"),
    ({"prompt": [user("Q"), SYSTEM, user("R")], **SIDES}, "system message behind"),
    ({"prompt": [{"role": "wizard", "content": "Q"}], **SIDES}, "role is not"),
    ({"prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], **SIDES}, "not text"),
    ({"prompt": [user("Q")], "chosen": [user("a")], "rejected": [assistant("b")]}, "assistant's message"),
    (
        {
            "prompt": [user("Q")],
            "chosen": [{"role": "assistant", "content": "", "tool_calls": [1]}],
            "rejected": [assistant("b")],
        },
        "tool calls",
    ),
    ({"prompt": "Q", "chosen": "a", "rejected": [assistant("b")]}, "one is a text"),
    (
        {
            "chosen": [user("Q"), assistant("A"), user("R"), assistant("a")],
            "rejected": [user("Q"), assistant("B"), user("R"), assistant("b")],
        },
        "does not end with|more than one",
    ),
    ({"prompt": "Q", "chosen": [user("R"), assistant("a")], "rejected": [user("R"), assistant("b")]}, "other messages"),
    ({"chosen": "The answer is 4.", "rejected": "The answer is 5."}, "share no line"),
    ({"prompt": "Q", "completion": "a", "label": "maybe"}, "neither true nor false"),
    ({"prompt": "Q", "completions": ["a", "b"], "labels": [False, True]}, "before the last"),
    ({"prompt": "Q", "completions": ["a"], "labels": []}, "one length"),
    ({"messages": [user("Q")]}, "assistant's message"),
]


@pytest.mark.parametrize(("row", "reason"), REFUSED)
def test_bad_rows(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowProblem, match=reason):
        read(row)


def test_a_reason_holds_nothing_of_its_row() -> None:
    for row, _ in REFUSED:
        texts = [value for value in row.values() if isinstance(value, str) and len(value) > 3]
        with pytest.raises(RowProblem) as caught:
            read(row)
        assert not any(text in str(caught.value) for text in texts)


def test_samples_and_labels() -> None:
    sample = read({"prompt": "Q", "completion": "a"})
    assert isinstance(sample, ImportedSide)
    assert sample.label is None
    talk = read({"messages": [*TALK, assistant("A2")]})
    assert isinstance(talk, ImportedSide)
    assert (talk.text, len(talk.ask.messages or ())) == ("A2", 3)
    for label, expected in ((True, True), (0, False), ("False", False), (1.0, True)):
        side = read({"prompt": "Q", "completion": "a", "label": label})
        assert isinstance(side, ImportedSide)
        assert side.label is expected


def test_a_sample_keeps_the_steps_that_its_prompt_holds() -> None:
    asked = solve_prompt("Q").messages[0].content
    sample = as_row(read({"prompt": f"{asked}\n\nStep 1: x\n", "completion": "Step 2: y"}))
    table = {each.name: each for each in exports(None, conversational=False, has_pairs=False)}
    [row] = table["sft"].rows(sample)
    assert (row["prompt"], row["completion"], row["question"]) == (f"{asked}\n\n", "Step 1: x\nStep 2: y", "Q")


def test_step_dpo_rows_are_steps() -> None:
    row = {"prompt": "Q", "initial_reason_steps": "Step 1: x\nStep 2:", "chosen": " y", "rejected": " z"}
    found = pair(row)
    assert (found.is_step, found.prefix, found.ask.question) == (True, "Step 1: x\nStep 2:", "Q")
    assert not pair(row, completions="whole").is_step


@given(st.lists(st.tuples(st.sampled_from("PQR"), st.booleans()), max_size=40))
def test_pairing_loses_nothing(sides: list[tuple[str, bool]]) -> None:
    pairing, pairs = Pairing(), []
    for at, (prompt, label) in enumerate(sides):
        found = pairing.add(ImportedSide(Ask(prompt), f"{label} {at}", label))
        pairs += [found] if found else []
    left = pairing.left()
    assert 2 * len(pairs) + sum(left.values()) == len(sides)
    for made in pairs:
        assert made.chosen.startswith("True")
        assert made.rejected.startswith("False")
    for prompt in "PQR":
        right, wrong = ([s for s in sides if s == (prompt, label)] for label in (True, False))
        assert sum(made.ask.question == prompt for made in pairs) == min(len(right), len(wrong))
    used = [text for made in pairs for text in (made.chosen, made.rejected)]
    assert len(set(used)) == len(used)


_TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), min_size=1, max_size=30)


@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=3))
def test_dialogues_are_read_as_they_were_written(turns: list[tuple[str, str]]) -> None:
    clean = [[part.replace("\n", " ").strip() or "x" for part in turn] for turn in turns]
    text = "".join(f"\n\nHuman: {asked}\n\nAssistant: {said}" for asked, said in clean)
    found = dialogue(text)
    assert found is not None
    assert [turn.content for turn in found] == [part for turn in clean for part in turn]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "messages", "from"]), inner)
    ),
    max_leaves=6,
)
COLUMNS = (
    "prompt",
    "question",
    "chosen",
    "rejected",
    "completion",
    "label",
    "messages",
    "input",
    "type",
    "pair_id",
    "completions",
    "labels",
    "initial_reason_steps",
    "flawed_solution",
    "error_start",
    "error_end",
    "correction",
    "preferred_output",
    "non_preferred_output",
    "domain",
    "system",
)


@given(st.dictionaries(st.sampled_from(COLUMNS), JSON, min_size=1))
def test_any_row_is_read_or_refused_with_a_reason(row: dict[str, Any]) -> None:
    known = known_format(None, row)
    if known is None:
        return
    try:
        found = known.read(row, ImportConfig())
        check(found, LIMIT)
    except RowProblem:
        return
    stored = as_row(found)
    assert json.loads(json.dumps(stored)) == stored
    assert stored["question"].strip()


def test_mappings() -> None:
    row = {"prompt": "not this", "task": {"text": "Q"}, "good": "a", "a.b": "dotted"}
    found = mapped(row, {"prompt": "task.text", "chosen": "good", "rejected": "a.b"})
    assert found == {"prompt": "Q", "chosen": "a", "rejected": "dotted"}
    assert mapped(row, {"prompt": "task.nothing"}).get("prompt") is None
    for wrong in (["prompt"], {"prompt": 3}, {"promt": "x"}):
        with pytest.raises(ValueError):
            checked_mapping(wrong)


@pytest.mark.parametrize(
    ("gold", "kept"), [(" 18 ", " 18 "), (18, "18"), (18.0, "18"), (0.5, "0.5"), ("", None), (None, None)]
)
def test_a_pairs_gold_answer_is_kept_as_text(gold: Any, kept: str | None) -> None:
    pair = ImportedPair(Ask("Q"), "a", "b")
    assert as_row(with_gold(pair, {"gold_answer": gold}))["gold_answer"] == kept
    side = ImportedSide(Ask("Q"), "a", True)
    assert with_gold(side, {"gold_answer": gold}) is side
    for wrong in (True, [1]):
        with pytest.raises(RowProblem, match="neither a text nor a number"):
            with_gold(pair, {"gold_answer": wrong})
