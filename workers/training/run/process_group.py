"""The process group of a run on CPU: gloo with one worker thread, in place of the two that PyTorch gives it.

With two threads PyTorch crashes now and then. Each thread that ends a collective writes its name into one string of
the group, and no lock guards that string (``ProcessGroupGloo::runLoop``, read in 2.13). A name of 16 bytes or more
lies on the heap, as ``ALLGATHER_COALESCED`` does, which FSDP uses. Two threads that write at the same moment then free
the same memory twice, and the process dies later, anywhere, of SIGSEGV or of an abort in malloc.
``tests/training/gloo_threads.py`` shows it with torch alone.

One thread does the collectives in the order in which they were asked for, which is the same in every process.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from accelerate.utils import parse_flag_from_env

from workers.training.protocol import ADDRESS_VARIABLE

BACKEND = "gloo_in_order"


def join_on_cpu() -> None:
    """Join the other processes of a run that a launcher started on CPU; accelerate takes a group that it finds.

    Does nothing in a process that no launcher started, and on GPUs, where collectives go through NCCL. Blocks until
    every process of the run has come. Raises torch.distributed.DistError when one does not come in time.
    """
    if "LOCAL_RANK" not in os.environ or not parse_flag_from_env("ACCELERATE_USE_CPU"):
        return
    if not dist.is_initialized():
        dist.Backend.register_backend(BACKEND, gloo, devices=["cpu"])
        dist.init_process_group(BACKEND)


def gloo(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    """A gloo backend as PyTorch makes it by default, with one worker thread."""
    # PyTorch's own start of gloo takes no options, and the constructor that does has them under private names.
    kind: Any = dist.ProcessGroupGloo
    options = kind._Options()
    interfaces = [name for name in os.environ.get("GLOO_SOCKET_IFNAME", "").split(",") if name]
    options._devices = [kind.create_device(interface=name) for name in interfaces] or [_device(kind)]
    options._timeout = timeout
    options._threads = 1
    return kind(store, rank, size, options)


def _device(kind: Any) -> Any:
    """What this host's name stands for, which may be itself alone; so of several hosts the address that they know."""
    address = os.environ.get(ADDRESS_VARIABLE)
    return kind.create_device(hostname=address) if address else kind.create_default_device()
