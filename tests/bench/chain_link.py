"""Spawns the next link of a chain, and waits for it."""

from __future__ import annotations

from sigmaos_ray import Proc, SigmaClnt


def main(argv: list[str]) -> int:
    length = int(argv[0])
    if length == 1:
        return 1
    with SigmaClnt() as sc:
        child = Proc("tests.bench.chain_link", [str(length - 1)])
        sc.spawn(child)
        status = sc.wait_exit(child.pid)
        assert isinstance(status.data, int), status
        return 1 + status.data
