"""Real tokenizers of well-known families against transformers' own rendering: `make test-tokenizers` fetches them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from errata.types import Message, Prompt
from tests.tokenizers.fetch import FAMILIES
from workers.engines.base import ScoreRequest
from workers.engines.joints import continuation_ids, end_of_turn, ids_of
from workers.engines.rendering import LocalTokenizer, prompt_ids
from workers.engines.scoring import TextScorer

pytestmark = pytest.mark.tokenizers
FETCHED = Path(os.environ.get("ERRATA_TOKENIZERS", ""))
BUILT = [Path(folder) for folder in os.environ.get("ERRATA_MODELS", "").split(os.pathsep) if folder]
#: Families whose package has no chat template: Llama 2's as its authors write it, and a plain one for the others.
TEMPLATES = {
    "llama2": (
        "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
}
PLAIN = "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '\n' }}{% endfor %}"
#: The token that ends a turn where the template writes another than ``eos_token``.
ENDS = {"gemini": "<end_of_turn>", "gemma3": "<end_of_turn>", "llama3": "<|eot_id|>"}
STEPS = (
    "Let's think step by step.\n",
    "Step 1: She has 12 − 3 = 9 apples 🙂 left, that is 75 %.\n",
    "Step 2: At $3,000 each, café prices are 9 * 3,000 = 27,000.\n\n",
    "Therefore, the answer is \\boxed{27{,}000}.",
)
QUESTIONS = (
    (Message("user", "How many apples?\n\nPlease reason step by step."),),
    (Message("user", "  Zwölf Äpfel: 12 − 3 =?\n"), Message("assistant", "9"), Message("user", "and <b>then</b>?")),
)


@pytest.fixture(scope="module", params=[*FAMILIES, *BUILT], ids=str)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model's tokenizer files. A family without a template is given one; the models of BUILT have theirs."""
    if isinstance(request.param, Path):
        return request.param
    folder = tmp_path_factory.mktemp("models") / request.param
    shutil.copytree(FETCHED / request.param, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    config.setdefault("chat_template", TEMPLATES.get(request.param, PLAIN))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> LocalTokenizer:
    return LocalTokenizer(str(folder))


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("turns", QUESTIONS)
def test_a_prompt_has_the_ids_that_transformers_gives(
    ours: LocalTokenizer, theirs: Any, turns: tuple[Message, ...]
) -> None:
    messages = [{"role": m.role, "content": m.content} for m in turns]
    expected = theirs.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert prompt_ids(ours, Prompt(turns, "", "v")) == expected
    assert prompt_ids(theirs, Prompt(turns, "", "v")) == expected


def test_special_tokens_are_those_of_transformers(ours: LocalTokenizer, theirs: Any) -> None:
    assert ours.eos_token_id == theirs.eos_token_id
    for text in theirs.all_special_tokens:
        assert ids_of(ours, text) == ids_of(theirs, text)


def test_steps_joined_by_ids_read_as_the_solution(ours: LocalTokenizer, theirs: Any) -> None:
    for tokenizer in (ours, theirs):
        first, *others = STEPS
        joined = ids_of(tokenizer, first) + [i for step in others for i in continuation_ids(tokenizer, step)]
        text = (
            tokenizer.decode(joined, clean_up_tokenization_spaces=False) if tokenizer is theirs else ours.decode(joined)
        )
        assert text == "".join(STEPS)


def test_a_turn_ends_with_the_token_that_the_template_writes(folder: Path, ours: LocalTokenizer, theirs: Any) -> None:
    expected = ENDS.get(folder.name, theirs.eos_token)
    assert [end_of_turn(ours), end_of_turn(theirs)] == theirs.convert_tokens_to_ids([expected, expected])


def test_scored_tokens_cover_the_text(ours: LocalTokenizer, theirs: Any) -> None:
    text = "".join(STEPS)
    for tokenizer in (ours, theirs):
        found = TextScorer(tokenizer).encode(ScoreRequest(Prompt(QUESTIONS[0], "", "v"), text))
        assert (found.spans[0][0], found.spans[-1][1]) == (0, len(text))
        covered = {at for start, end in found.spans for at in range(start, end)}
        assert covered == set(range(len(text)))
