"""Waits for children from the threads of a pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sigmaos_ray import Proc, SigmaClnt


def main(argv: list[str]) -> int:
    count = int(argv[0])
    with SigmaClnt() as sc, ThreadPoolExecutor(count) as pool:

        def one(_number: int) -> bool:
            child = Proc("programs.nap", ["0.01"])
            sc.spawn(child)
            return sc.wait_exit(child.pid).is_ok()

        return sum(pool.map(one, range(count)))
