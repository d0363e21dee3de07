"""Where the hosts of a run meet: the address by which others reach this host, and a port that is free."""

from __future__ import annotations

import socket

from sqlalchemy.engine import make_url

from workers.training.supervise.launch import Meeting, processes_here
from workers.training.supervise.settings import TrainerSettings

_LOOPBACK = "127.0.0.1"
_ANY_PORT = 9  # discard: nothing is sent, the kernel only chooses a route


def offer(settings: TrainerSettings, database_url: str) -> tuple[int, dict[str, object]]:
    """The GPUs that each host needs, and where and how they meet: what a place of a run holds.

    Raises ValueError where the operator's launch file cannot be read, and OSError where no port is free.
    """
    here = processes_here(settings.accelerate_config)
    url = make_url(database_url)
    address = settings.address or address_toward(url.host or _LOOPBACK)
    gpus = 0 if here["on_cpu"] else int(here["processes"])
    return gpus, {**here, "address": address, "port": settings.port or free_port()}


def meeting(offered: dict[str, object], settings: TrainerSettings, hosts: int, rank: int) -> Meeting:
    """What the host of a rank launches, from an :func:`offer` of the first one."""
    first = str(offered["address"])
    own = first if rank == 0 else settings.address or address_toward(first)
    return Meeting(hosts=hosts, rank=rank, own_address=own, **offered)  # type: ignore[arg-type]


def address_toward(host: str) -> str:
    """This host's address on the way to ``host``; the loopback address where there is no way. Sends nothing."""
    try:
        for family, _, _, _, to in socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM):
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(to)
                return str(probe.getsockname()[0])
    except OSError:
        pass
    return _LOOPBACK


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
