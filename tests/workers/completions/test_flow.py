"""What is sent of a growing text: never part of a stop string or of a character, never a text that began anew."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import until
from workers.completions.flow import Flow
from workers.engines.base import Cancelled, Completion, EngineError
from workers.engines.turns import Turns


@given(st.text(alphabet="abX🙂\n", max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_pieces_make_the_whole_text_and_hold_no_stop_string(text: str, cuts: list[int]) -> None:
    stops = ("XX", "\nb")
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    whole = text[: min(ends, default=len(text))]
    flow = Flow(1, stops)
    told = ""
    for cut in sorted(cuts):
        # A decoder writes U+FFFD for a character of which it has only some bytes.
        flow.hear([(0, 0, text[:cut] + ("\ufffd" if cut < len(text) else ""))])
        told += "".join(piece for _, piece, _ in flow.take())
        assert whole.startswith(told)
    [(index, rest, end)] = flow.end([[Completion(whole, "stop", 1, 1)]])
    assert (index, told + rest, end) == (0, whole, "stop")


def test_choices_are_counted_through_all_prompts() -> None:
    flow = Flow(2, ())
    flow.hear([(0, 1, "a"), (1, 0, "b")])
    assert flow.take() == [(1, "a", None), (2, "b", None)]
    assert flow.take() == [], "nothing is told twice"
    whole = [Completion("", "length", 1, 1), Completion("a\x00", "stop", 0, 1)]
    ends = flow.end([whole, [Completion("b", "length", 1, 1), whole[1]]])
    assert [(at, end) for at, _, end in ends] == [(0, "length"), (1, "stop"), (2, "length"), (3, "stop")]
    assert ends[1][1] == "\ufffd", "what no database takes is written out"


def test_a_text_that_begins_anew_may_catch_up_and_not_differ() -> None:
    flow = Flow(1, ())
    flow.hear([(0, 0, "one two")])
    flow.take()
    flow.hear([(0, 0, "one")])
    assert flow.take() == []
    flow.hear([(0, 0, "one three")])
    with pytest.raises(EngineError, match="begun anew") as raised:
        flow.take()
    assert raised.value.retryable


def test_urgent_turns_go_first_but_not_for_ever() -> None:
    turns, order = Turns(1), list[str]()
    hold = threading.Event()
    never = lambda: False  # noqa: E731

    def wait(name: str, *, urgent: bool) -> threading.Thread:
        def go() -> None:
            with turns.turn(never, urgent=urgent):
                order.append(name)
                if name == "first":
                    hold.wait(60)

        thread = threading.Thread(target=go)
        thread.start()
        return thread

    threads = [wait("first", urgent=False)]
    until(lambda: order, "the first turn")
    threads.append(wait("job", urgent=False))
    until(lambda: turns._patient == 1, "the job's batch")
    threads += [wait(f"urgent {at}", urgent=True) for at in range(10)]
    until(lambda: turns._urgent == 10, "the urgent ones")
    with pytest.raises(Cancelled), turns.turn(lambda: True, urgent=True):
        pass
    hold.set()
    for thread in threads:
        thread.join(60)
    assert order.index("job") == 1 + 8, "behind eight of them it has its turn"
    assert len(order) == 12
