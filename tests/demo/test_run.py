"""What the demo says when it cannot go on."""

from __future__ import annotations

import pytest

from demo import run as demo
from demo.service import DemoError


def test_an_error_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A run's own words may hold brackets, which the display would read as markup."""

    def fail(_: demo.Options) -> None:
        raise DemoError("cut at [/transport/tcp/pair.cc:537] by [red]peer")

    monkeypatch.setattr(demo, "_check", fail)
    assert demo.run(demo.Options()) == 1
    told = "".join(capsys.readouterr())
    assert "[/transport/tcp/pair.cc:537] by [red]peer" in told.replace("\n", " ")
