"""Crashes PyTorch (2.13, Linux, two cores) within seconds: ``python tests/training/gloo_threads.py coalesced``.

A gloo group has two worker threads. Each that ends a collective assigns the collective's name to one std::string of
the group, without a lock (``ProcessGroupGloo::runLoop``: ``pgStatus_->lastCompletedWorkName``). The name
``ALLGATHER_COALESCED`` is longer than the 15 bytes that the string itself holds, so two threads that assign at once
free one block of memory twice. With ``plain`` the name is ``ALLGATHER``, which fits, and nothing happens.
"""

from __future__ import annotations

import sys
import time

import torch
import torch.distributed as dist


def main(kind: str, seconds: float) -> None:
    """Keep both threads busy with small collectives of one process."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    ask = dist.all_gather_coalesced if kind == "coalesced" else dist.all_gather
    each, into = torch.ones(4), torch.empty(4)
    arguments = ([[into]], [each]) if kind == "coalesced" else ([into], each)
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for work in [ask(*arguments, async_op=True) for _ in range(64)]:
            work.wait()
        done += 64
    sys.stdout.write(f"{done} collectives, no crash\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
