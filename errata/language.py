"""Whether a text is English, whose words for numbers, operations and roundings are known.

A solution is followed by its numbers, and words may change what these mean: "drei" in a question is a source of 3, and
"aufgerundet" a rounding. Unknown words look like no words at all, so a text of another language is not followed.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")  # a command of LaTeX is none
#: Letters of scripts that English is not written in. Greek is left out: its letters are mathematics.
_OTHER_SCRIPT = re.compile(
    "[\u0400-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
)
_DRAWING = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.S)


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _listed(
    "the an of on at to for from by with and or is are was were be been has have had do does did will would can could"
    " he she it they we you his her their its my this that these those there then so if how many much what each per"
    " every all more less than left total number needs need gets get after before times altogether since because when"
    " which who as into out up not no only both in them him our your let think step answer find value given solve"
    " therefore thus us two three four five six seven eight nine ten half twice first second third"
)
#: Function words and numbers of languages in which mathematics is often written: German, French, Spanish, Portuguese,
#: Italian, Dutch. None is a common word of English.
_FOREIGN = _listed(
    "der das und ist sind wie viele viel hat haben mit von zu ein eine einen einem einer ihr ihre sie er es auf im nach"
    " jede jeder jedes pro wenn dann also insgesamt noch wir nun bei aus zum zur den dem des nicht kostet bleibt"
    " bleiben übrig für zwei drei vier fünf sechs sieben acht neun zehn hälfte doppelt"
    " le les du et est sont combien pour avec dans une elle il ils elles par chaque donc reste sur au aux ses son sa"
    " qui que nous en ce cette coûte deux trois quatre cinq sept huit neuf dix moitié fois"
    " el los las son cuántos cuántas cuanto cuánto tiene tienen para una cada por su sus del entonces queda quedan"
    " dos tres cuatro cinco seis siete ocho nueve diez mitad"
    " quantos quantas quanto tem um uma ele ela os são então restam dois duas três quatro sete oito dez metade"
    " gli di che ogni quanti quante sono della più con tutto tre due quattro cinque sei sette otto dieci metà"
    " het een van hoeveel heeft zijn elke dus twee drie vijf zes zeven negen tien helft"
)
_FEW = 8  # different words: fewer say nothing about their language
_LEAST = 0.15  # share of English function words in a text of more


def follows_in_english(question: str, solution: str) -> bool:
    """Whether no other language shows in a question or its solution. True for texts of few words, or of none.

    A solution may be terse and take nearly all of its words from the question: these count as English, too.
    """
    return _is_english(question, frozenset()) and _is_english(solution, _words(question))


def _is_english(text: str, known: frozenset[str]) -> bool:
    if _OTHER_SCRIPT.search(text):
        return False
    words = _words(text)
    english, foreign = (sum(word in listed for word in words) for listed in (_ENGLISH, _FOREIGN))
    shared = sum(word in known or word in _ENGLISH for word in words)
    return foreign <= english and (len(words) < _FEW or shared >= _LEAST * len(words))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_DRAWING.sub(" ", text).lower()))
