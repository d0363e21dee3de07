"""The shipped miniature: small files, a card that states its recipe, and the abilities the demonstration needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

import demo
from demo.build_model import build, build_tokenizer, shape, train
from demo.lessons import numbered_steps
from demo.measure_model import Miniature, accuracy, edit_success, judge_edit
from demo.problems import generate
from errata.prompts import Layout
from errata.steps import split_steps

FOLDER = Path(demo.__file__).parent / "model"


@pytest.fixture(scope="module")
def miniature() -> Miniature:
    return Miniature(FOLDER)


def test_files_are_small_and_need_no_foreign_code() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert not [name for name in names if name.endswith((".py", ".bin", ".pt"))]
    assert all(path.stat().st_size < 4_000_000 for path in FOLDER.iterdir())


def test_card_states_recipe_and_figures() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert "python -m demo.build_model --steps" in card
    assert "| greedy |" in card
    assert "| paper, 0.0 |" in card


def test_solves_heldout_problems_mostly_greedily_and_less_often_sampled(miniature: Miniature) -> None:
    torch.manual_seed(1)
    problems = generate(200, 5, "heldout")
    greedy, sampled = (accuracy(miniature, problems, temperature)["accuracy"] for temperature in (0.0, 1.0))
    assert greedy > 0.75
    assert 0.25 < sampled < greedy - 0.1


@pytest.mark.parametrize("layout", ["errata", "paper", "scripts"])
def test_carries_out_most_edits(miniature: Miniature, layout: Layout) -> None:
    torch.manual_seed(1)
    outcomes = edit_success(miniature, 100, layout, 0.8)
    assert outcomes["wrong"] > 0.7
    assert outcomes["malformed"] < 0.1


def test_steps_are_those_the_method_finds() -> None:
    for problem in generate(100, 6):
        solution = problem.gold_solution or ""
        bodies = [line.split(": ", 1)[1] for line in solution.split("\n")[1:]]
        assert numbered_steps(bodies) == (solution, split_steps(solution))


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("Tom has 3 + 4 = 8 apples.\n```", "wrong"),
        ("Step 2: Tom has 3 + 5 = 7 apples.\n```", "wrong"),
        ("Tom has 3 + 4 = 7 apples.\n```", "copy"),
        ("Tom has 4 + 3 = 7 apples.\n```", "true"),
        ("Tom has 3 + 4 = 8 pears.\n```", "malformed"),
        ("Tom has 3 + 4 = 8 apples.", "malformed"),
        ("Tom has = 8 apples.\n```", "malformed"),
        (None, "malformed"),
    ],
)
def test_measuring_tells_the_outcomes_of_an_edit_apart(reply: str | None, outcome: str) -> None:
    assert judge_edit(reply, "Tom has 3 + 4 = 7 apples.") == outcome


def test_a_model_without_training_has_the_same_shape_and_solves_nothing(tmp_path: Path) -> None:
    build(tmp_path, steps=0, seed=1, problems=1, edits=1)
    raw, shipped = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (tmp_path, FOLDER))
    assert raw.num_parameters() == shipped.num_parameters()
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == AutoTokenizer.from_pretrained(FOLDER).chat_template
    torch.manual_seed(0)
    assert accuracy(Miniature(tmp_path), generate(20, 5, "heldout"), 0.0)["accuracy"] == 0.0


def test_training_is_reproducible() -> None:
    def trained() -> tuple[dict[str, int], dict[str, torch.Tensor]]:
        torch.manual_seed(3)
        tokenizer = build_tokenizer(3, count=1000)
        model = LlamaForCausalLM(shape(tokenizer))
        train(model, tokenizer, steps=2, seed=3)
        return tokenizer.get_vocab(), model.state_dict()

    (vocabulary, weights), (again, others) = trained(), trained()
    assert vocabulary == again
    assert all(torch.equal(weights[name], others[name]) for name in weights)
