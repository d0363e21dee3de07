"""A solution is followed only where its words are known: in another language nothing is carried or replayed."""

from __future__ import annotations

import pytest

from errata.carrying import carry_step
from errata.dataflow import read_flow
from errata.language import follows_in_english
from errata.replay import ReplayOutcome, replay

#: The same story. Its question names 5 in words alone, so an edit that writes 5 may be another way to compute.
ENGLISH = (
    "Anna has 3 baskets with 4 apples each and five more. How many apples are there in all?",
    "Anna has 3 * 4 = 12 apples in the baskets.\nTogether that is 12 + 7 = 19 apples.",
)
OTHERS = {
    "German": (
        "Anna hat 3 Körbe mit je 4 Äpfeln und noch fünf. Wie viele Äpfel sind es insgesamt?",
        "Anna hat 3 * 4 = 12 Äpfel in den Körben.\nZusammen sind das 12 + 7 = 19 Äpfel.",
    ),
    "French": (
        "Anna a 3 paniers de 4 pommes et encore cinq. Combien de pommes a-t-elle en tout ?",
        "Anna a 3 * 4 = 12 pommes dans les paniers.\nEn tout il y a 12 + 7 = 19 pommes.",
    ),
    "Spanish": (
        "Ana tiene 3 cestas con 4 manzanas y cinco más. ¿Cuántas manzanas tiene en total?",
        "Ana tiene 3 * 4 = 12 manzanas en las cestas.\nEn total son 12 + 7 = 19 manzanas.",
    ),
    "Chinese": (
        "安娜有3个篮子，每个4个苹果，另有五个。一共有多少个苹果？",
        "篮子里有 3 * 4 = 12 个苹果。\n一共 12 + 7 = 19 个苹果。",
    ),
    "Italian": (
        "Anna ha 3 cesti con 4 mele e altre cinque. Quante mele sono in tutto?",
        "Anna ha 3 * 4 = 12 mele nei cesti.\nIn tutto sono 12 + 7 = 19 mele.",
    ),
    "Polish": (
        "Anna ma 3 kosze po 4 jabłka i jeszcze pięć. Ile jabłek ma Anna razem ze wszystkimi koszami?",
        "Anna ma 3 * 4 = 12 jabłek w koszach.\nRazem to 12 + 7 = 19 jabłek.",
    ),
    "Russian": (
        "У Анны 3 корзины по 4 яблока и ещё пять. Сколько всего яблок?",
        "3 * 4 = 12 яблок.\nВсего 12 + 7 = 19 яблок.",
    ),
    "Turkish": (
        "Ayşe 3 sepette 4 elma taşıyor ve beş elma daha alıyor. Toplam kaç elması olur acaba?",
        "Sepetlerde 3 * 4 = 12 elma var.\nToplam 12 + 7 = 19 elma.",
    ),
}


def edited(solution: str, old: str, new: str) -> str:
    """The first step after an edit that is true in itself."""
    step = solution.splitlines(keepends=True)[0]
    assert old in step
    return step.replace(old, new)


@pytest.mark.parametrize("language", OTHERS)
def test_a_number_that_another_language_names_in_words_is_no_error(language: str) -> None:
    question, solution = OTHERS[language]
    found = replay(question, "19", solution, 0, edited(solution, "3 * 4 = 12", "3 * 5 = 15"))
    assert found.outcome is ReplayOutcome.OPEN
    assert not read_flow(solution, question).nodes
    assert carry_step(question, solution, 0, edited(solution, "3 * 4 = 12", "3 * 5 = 12"), "end") is None


def test_in_english_the_same_number_is_known_and_another_is_an_error() -> None:
    question, solution = ENGLISH
    named = replay(question, "19", solution, 0, edited(solution, "3 * 4 = 12", "3 * 5 = 15"))
    assert (named.outcome, named.why) == (ReplayOutcome.OPEN, "the new number has a source, too")
    assert (
        replay(question, "19", solution, 0, edited(solution, "3 * 4 = 12", "3 * 6 = 18")).outcome
        is ReplayOutcome.MISSES
    )


@pytest.mark.parametrize("language", OTHERS)
def test_a_solution_in_another_language_than_its_question_is_not_followed(language: str) -> None:
    assert not follows_in_english(OTHERS[language][0], ENGLISH[1])
    assert not follows_in_english(ENGLISH[0], OTHERS[language][0]), "a long text"


@pytest.mark.parametrize(
    ("question", "solution"),
    [
        ENGLISH,
        ("What is $3 + 4$?", "$3 + 4 = 7$"),
        ("", ""),
        (
            "Chloe and José hike 9 km/h and 14 km/h. How much farther does José hike in 5 hours?",
            "14 * 5 = 70\n9 * 5 = 45",
        ),
        (
            "What is the area of the triangle? [asy] real axisarrowsize draw label size pen linewidth fontsize [/asy]",
            "Area = 3 * 4 / 2 = 6",
        ),
        (
            "How many kilometers farther did Cho hike than Chloe, at 14 and 9 kilometers per hour?",
            "Cho hiked 14 * 8 = 112 kilometers\nChloe hiked 9 * 5 = 45 kilometers\nCho hiked 112 - 45 = 67 farther",
        ),
    ],
)
def test_english_and_plain_mathematics_are_followed(question: str, solution: str) -> None:
    assert follows_in_english(question, solution)
