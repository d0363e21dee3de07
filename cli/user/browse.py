"""``errata pairs browse``: pairs one at a time on a terminal, by keys. Elsewhere they are printed one below the other."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from cli.user.output import clean

#: What keys do. Arrows as terminals send them, with and without application mode.
_KEYS = {
    **dict.fromkeys(("\r", "\n", " ", "n", "l", "\x1b[C", "\x1bOC", "\x1b[6~"), "next"),
    **dict.fromkeys(("p", "h", "\x7f", "\x08", "\x1b[D", "\x1bOD", "\x1b[5~"), "previous"),
    **dict.fromkeys(("j", "\x1b[B", "\x1bOB"), "down"),
    **dict.fromkeys(("k", "\x1b[A", "\x1bOA"), "up"),
    **dict.fromkeys(("q", "\x1b", "\x03", "\x04", ""), "quit"),
    "g": "first",
    "a": "accepted",
    "r": "rejected",
}
HELP = "Enter next · p previous · ↑↓ scroll · a accept · r reject · g first · q quit"


class Browser:
    """A place in a list of pairs that is fetched as one goes on, and the part of the pair that is seen."""

    def __init__(self, pairs: Iterable[Any], review: Callable[[str, str], None], shown: Callable[[Any], Text]) -> None:
        self._coming: Iterator[Any] = iter(pairs)
        self._seen: list[Any] = []
        self._review = review
        self._shown = shown
        self.at, self.top = 0, 0
        self.verdicts: dict[str, str] = {}
        self.note = ""
        self._fetch(0)

    @property
    def empty(self) -> bool:
        """Whether there is no pair at all."""
        return not self._seen

    def press(self, key: str) -> bool:
        """Do what a key says; whether to go on."""
        act = _KEYS.get(key)
        self.note = ""
        if act == "quit":
            return False
        if act in ("next", "previous", "first"):
            self._go({"next": self.at + 1, "previous": max(0, self.at - 1), "first": 0}[act])
        elif act in ("down", "up"):
            self.top = max(0, self.top + (1 if act == "down" else -1))
        elif act is not None:
            pair = self._seen[self.at]
            self._review(pair.id, act)
            self.verdicts[pair.id] = act
            self._go(self.at + 1)
        else:
            self.note = HELP
        return True

    def draw(self, out: Console) -> None:
        """The pair at hand, as much as fits, and a line about where one is."""
        width, height = out.size
        pair = self._seen[self.at]
        lines = self._shown(pair).wrap(out, max(20, width))
        room = max(1, height - 2)
        self.top = min(self.top, max(0, len(lines) - room))
        out.clear()
        for line in lines[self.top : self.top + room]:
            out.print(line, no_wrap=True, overflow="crop")
        verdict = self.verdicts.get(pair.id) or getattr(pair, "review", None)
        more = f" · {len(lines) - room - self.top} lines below" if len(lines) > room + self.top else ""
        place = f"{self.at + 1}{f' · {clean(verdict)}' if verdict else ''}{more} · {self.note or HELP}"
        out.print(Text(place, style="reverse", no_wrap=True, overflow="ellipsis"), end="")

    def _go(self, at: int) -> None:
        if self._fetch(at):
            self.at, self.top = at, 0
        else:
            self.note = "there are no more pairs"

    def _fetch(self, at: int) -> bool:
        while len(self._seen) <= at:
            found = next(self._coming, None)
            if found is None:
                return False
            self._seen.append(found)
        return True


def browse(out: Console, browser: Browser, read_key: Callable[[], str] = typer.getchar) -> None:
    """Draw, read a key, and so on until one ends it. The terminal is as it was before, whatever happens."""
    with out.screen(hide_cursor=True), _redrawn(lambda: browser.draw(out)):
        while True:
            browser.draw(out)
            try:
                key = read_key()
            except (KeyboardInterrupt, EOFError):
                return
            if not browser.press(key):
                return


@contextmanager
def _redrawn(draw: Callable[[], None]) -> Iterator[None]:
    """Draw anew when the terminal's size changes; Windows has no such signal."""
    resized = getattr(signal, "SIGWINCH", None)
    if resized is None:
        yield
        return
    before = signal.signal(resized, lambda *_: draw())
    try:
        yield
    finally:
        signal.signal(resized, before)
