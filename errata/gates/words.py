"""Words that decide whether two texts differ in a name: what is never one, pronouns, and numbers in words."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _counted(text: str, start: int, by: int) -> dict[str, int]:
    return {word: by * at for at, word in enumerate(text.split(), start)}


ONES = _counted(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen",
    0,
    1,
)
TENS = _counted("twenty thirty forty fifty sixty seventy eighty ninety", 2, 10)
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}

PRONOUNS = _words("he she they him her them his hers their theirs himself herself themselves")
"""Another name may bring another of these."""

JOINERS = _words("de da del della di du la le van von der den bin ibn al el y st")
"""Words inside a name that are written small."""

ORDINARY = _words(
    # What opens a sentence or stands in a title, and means something: its change makes another problem.
    "a an the this that these those there here it its i we you he she they his her their our your my"
    " what which who whom whose when where why how if then else let suppose assume given consider define denote"
    " find compute calculate evaluate determine simplify solve factor expand express write rewrite convert prove show"
    " verify estimate approximate round graph plot sketch draw list name state give use add subtract multiply divide"
    " rationalize differentiate integrate maximize minimize complete fill choose select pick order arrange compare"
    " classify identify describe explain count sum product difference quotient remainder total maximum minimum"
    " greatest least largest smallest longest shortest highest lowest most fewest first last next second third fourth"
    " fifth one two three four five six seven eight nine ten each every all both some any no none neither either many"
    " much more less few several another other such same different for from in on at to of by with without within"
    " into onto over under above below between among through across around near during before after since until while"
    " because so but and or nor yet not only also however therefore thus hence now later earlier today tomorrow"
    " yesterday once twice half is are was were be been being has have had do does did can could will would shall"
    " should may might must please note assuming using starting after together initially originally currently finally"
    " meanwhile additionally instead otherwise besides as than about per out up down off back"
    # A calendar counts: another day or month is another problem.
    " monday tuesday wednesday thursday friday saturday sunday mondays tuesdays wednesdays thursdays fridays saturdays"
    " sundays january february march april may june july august september october november december"
    # Objects of mathematics, written large in titles and as operators.
    " point points line lines segment angle angles triangle square rectangle circle polygon hexagon pentagon area"
    " perimeter volume radius diameter length width height side sides function equation expression number numbers"
    " integer integers prime primes digit digits even odd positive negative real complex sin cos tan sec csc cot log"
    " ln lim max min gcd lcm det mod true false yes no pi"
)
"""Written large or small, these are no names."""
