"""A member that tells who it is, and waits to be evicted."""

from __future__ import annotations

import os

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> Status:
    with SigmaClnt() as sc:
        number = os.environ["SIGMAREPL"].partition(",")[0]
        sc.put_file(f"name/{argv[0]}/{number}.{os.environ['SIGMAGEN']}", str(os.getpid()).encode())
        sc.started()
        sc.wait_evict()
    return Status.evicted()
