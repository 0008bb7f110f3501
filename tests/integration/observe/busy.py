"""Spins until it is evicted."""

import threading

from sigmaos_ray import SigmaClnt, debug

_log = debug.selector("BUSY")


def spin() -> int:
    return sum(range(10_000))


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        evicted = threading.Event()

        def wait() -> None:
            sc.wait_evict()
            evicted.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        sc.started()
        _log(f"spins {' '.join(argv)}")
        while not evicted.is_set():
            spin()
        waiter.join()
