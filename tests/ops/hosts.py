"""Hosts of one machine: network namespaces on a bridge, each with an address and a cable that can be pulled."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.lacking import lacking

_numbers = itertools.count(os.getpid() % 200)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """One namespace: what runs in it reaches the others by their addresses, and itself alone once it is cut off."""

    name: str
    address: str
    cable: str  # this machine's end

    @property
    def within(self) -> list[str]:
        """What stands before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the cable: packets vanish, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Put it back."""
        _ip("link", "set", self.cable, "up")


@contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Host]]]:
    """The address of this machine on their bridge, and the hosts. Skips where namespaces are not to be had."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        lacking("network namespaces: this needs root and iproute2")
    number = next(_numbers) % 200 + 20
    bridge, net = f"er{os.getpid() % 10000}b{number}", f"10.77.{number}"
    made = [Host(f"{bridge}h{n}", f"{net}.{n + 2}", f"{bridge}c{n}") for n in range(count)]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in made:
            _ip("netns", "add", host.name)
            _ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.cable, "master", bridge, "up")
            subprocess.run([*host.within, "ip", "addr", "add", f"{host.address}/24", "dev", "eth0"], check=True)
            for device in ("lo", "eth0"):
                subprocess.run([*host.within, "ip", "link", "set", device, "up"], check=True)
    except subprocess.CalledProcessError as error:
        _remove(bridge, made)
        lacking(f"network namespaces: {(error.stderr or b'').decode(errors='replace').strip()}")
    try:
        yield f"{net}.1", made
    finally:
        _remove(bridge, made)


def _remove(bridge: str, made: list[Host]) -> None:
    for words in (*(("netns", "del", host.name) for host in made), ("link", "del", bridge)):
        with suppress(subprocess.CalledProcessError):
            _ip(*words)
