"""The service the demo talks to: one that runs already, or one started here as a child process (``errata serve``)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from client import Errata, NotFoundError

_MARK = "Errata listens on "
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class DemoError(Exception):
    """Why the demo cannot go on, in a line that says what to do."""


def home() -> Path:
    """The folder everything is written to (``ERRATA_HOME``)."""
    return Path(os.environ.get("ERRATA_HOME") or "data")


@contextmanager
def service(url: str | None) -> Iterator[Errata]:
    """A client of the service at ``url``, or of one of our own that ends with the block. Raises DemoError."""
    if url is not None:
        with Errata(url) as errata:
            if not errata.ready():
                raise DemoError(f"{url} does not answer; start it with `errata serve`")
            yield errata
        return
    with _child() as own, Errata(own) as errata:
        yield errata


def register(errata: Errata, name: str, folder: Path, *, own: bool) -> None:
    """Put a model folder into the registry, as an operator would; on a foreign service it must be there already."""
    if own:
        command = [
            sys.executable,
            "-m",
            "cli.main",
            "models",
            "add",
            name,
            "--path",
            str(folder),
            "--setting",
            "batch_size=128",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"the model could not be registered: {done.stderr.strip()}")
    try:
        errata.models.get(name)
    except NotFoundError:
        raise DemoError(
            f"this service knows no language model '{name}'; its operator adds it with"
            f" `errata models add {name} --path {folder}`"
        ) from None


@contextmanager
def _child() -> Iterator[str]:
    """``errata serve`` as a child. It ends with us whatever happens: its standard input is a pipe held here."""
    logs = home() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log_path = logs / "serve.log"
    command = [sys.executable, "-m", "cli.main", "serve", "--with-parent"]
    # A model of a million parameters gains nothing from a second thread, and grading works beside it.
    env = {"ERRATA_TORCH_THREADS": "1", **os.environ}
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=env,
            start_new_session=True,
        )
    try:
        yield _address(child, log_path)
    finally:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_SECONDS)
        child.kill()
        child.wait()


def _address(child: subprocess.Popen[str], log_path: Path) -> str:
    """The address the child prints once it answers. Raises DemoError when it ends instead, or takes too long."""
    found: list[str] = []
    known = threading.Event()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:  # to its end, so that the pipe never fills
            if line.startswith(_MARK):
                found.append(line.removeprefix(_MARK).strip())
                known.set()
        known.set()

    threading.Thread(target=read, name="serve-output", daemon=True).start()
    known.wait(_START_SECONDS)
    if not found:
        tail = "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        raise DemoError(f"the service did not start; the end of {log_path}:\n{tail}")
    return found[0]
