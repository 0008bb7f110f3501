"""Calls an echo server on each kernel node that is an argument, from here. Prints for each the median of a call's
seconds."""

from __future__ import annotations

import sys
import time
from statistics import median

from sigmaos_ray import Proc, SigmaClnt
from user.example_echo_server.clnt import EchoClnt

PLACE = "name/calls"
CALLS = 1000
ROUNDS = 5


def seconds_per_call(clnt: EchoClnt) -> float:
    began_s = time.perf_counter()
    for _ in range(CALLS):
        clnt.echo("hello")
    return (time.perf_counter() - began_s) / CALLS


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.makedirs(PLACE)
        procs = {
            kernel_id: Proc("example_echo_server", [f"{PLACE}/{kernel_id}"], kernels=[kernel_id]) for kernel_id in argv
        }
        for proc in procs.values():
            sc.spawn(proc)
            sc.wait_start(proc.pid)
        rounds: dict[str, list[float]] = {kernel_id: [] for kernel_id in procs}
        # In turns: what else happens on the machine meets all of them.
        for _ in range(ROUNDS):
            for kernel_id, seconds in rounds.items():
                with EchoClnt(sc, f"{PLACE}/{kernel_id}") as clnt:
                    seconds_per_call(clnt)
                    seconds.append(seconds_per_call(clnt))
        for kernel_id, proc in procs.items():
            print(kernel_id, median(rounds[kernel_id]))
            sc.evict(proc.pid)
            sc.wait_exit(proc.pid)
        sc.rmdir(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
