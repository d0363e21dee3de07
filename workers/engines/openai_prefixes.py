"""Which of several servers has lately been asked for a prompt that began alike: its cache may hold that beginning."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from errata.types import Prompt

_PIECE = 256  # characters: about four of the blocks of 16 tokens in which servers keep prefixes
_REMEMBERED = 1 << 16  # pieces: the prompts of some thousand problems


def pieces_of(prompt: Prompt) -> list[int]:
    """The prompt as a chain: each number stands for all of its text up to the end of one piece."""
    text = "\n".join([*(f"{turn.role}\n{turn.content}" for turn in prompt.messages), prompt.assistant_prefix])
    chain, before = [], 0
    for at in range(0, len(text), _PIECE):
        before = hash((before, text[at : at + _PIECE]))
        chain.append(before)
    return chain


class Prefixes:
    """Remembers of each piece who was asked for it, the latest ones first to be remembered. Numbers name servers."""

    def __init__(self) -> None:
        self._asked: OrderedDict[int, frozenset[int]] = OrderedDict()

    def shared(self, chain: Sequence[int], server: int) -> int:
        """How many of the first pieces this server was asked for."""
        count = 0
        for piece in chain:
            if server not in self._asked.get(piece, ()):
                break
            count += 1
        return count

    def note(self, chain: Sequence[int], server: int) -> None:
        """This server is asked for the prompt."""
        for piece in chain:
            self._asked[piece] = self._asked.get(piece, frozenset()) | {server}
            self._asked.move_to_end(piece)
        while len(self._asked) > _REMEMBERED:
            self._asked.popitem(last=False)

    def forget(self, server: int) -> None:
        """This server has ended; what it held is gone."""
        for piece, servers in self._asked.items():
            self._asked[piece] = servers - {server}
