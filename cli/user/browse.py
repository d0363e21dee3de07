"""``errata pairs browse``: pairs one at a time on a terminal, by keys. Elsewhere they are printed in full."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
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
_KEY = re.compile("\x1b[\\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
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
        out.print(Text(place, style="reverse"), no_wrap=True, overflow="ellipsis", end="")

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


def browse(out: Console, browser: Browser) -> None:
    """Draw, read keys, and so on until one ends it. The terminal is as it was before, whatever happens."""
    ended = contextlib.suppress(KeyboardInterrupt, EOFError)
    with out.screen(hide_cursor=True), _by_keys() as read, _redrawn(lambda: browser.draw(out)), ended:
        while True:
            browser.draw(out)
            if not all(browser.press(key) for key in keys_of(read())):
                return


def keys_of(typed: str) -> list[str]:
    """The keys of what a terminal sent at once: each a character, or an escape sequence such as an arrow's."""
    return _KEY.findall(typed) or [""]


@contextmanager
def _by_keys() -> Iterator[Callable[[], str]]:
    """A reader of keys as they are pressed, without echo. Windows has no termios: there typer reads one key."""
    try:
        import termios
        import tty
    except ImportError:
        yield typer.getchar
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    # Not raw: Ctrl-C is to stay a signal, and a redraw amid a read needs line ends as usual.
    tty.setcbreak(terminal)
    try:
        yield lambda: os.read(terminal, 256).decode(errors="replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


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
