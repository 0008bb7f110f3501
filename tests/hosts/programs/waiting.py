"""Procs that run until they are evicted, one on each host, and one more through the schedd of each kernel node that is
an argument. Prints ``running`` and where each of them runs, then what was told of them, and when: lines of JSON, each
with the machine's monotonic clock, which all hosts of one machine share. Ends when all of them have.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sigmaos_ray import Proc, SigmaClnt

PLACE = "name/waiting"


def waits(argv: list[str]) -> None:
    """Until it is evicted."""
    with SigmaClnt() as sc:
        sc.put_file(f"{PLACE}/{sc.pid}", f"{sc.proc_env.kernel_id} {sc.proc_env.schedd_id}".encode())
        sc.started()
        sc.wait_evict()


def say(what: str, *words: str) -> None:
    print(json.dumps([time.monotonic(), what, *words]), flush=True)


def tell_end(sc: SigmaClnt, pid: str) -> None:
    say("ended", pid, str(sc.wait_exit(pid)))


def main(argv: list[str]) -> None:
    count, kernel_ids = int(argv[0]), argv[1:]
    with SigmaClnt() as sc:
        sc.makedirs(PLACE)
        procs = [Proc(waits, mcpu=1500) for _ in range(count)]
        for proc in procs:
            sc.spawn(proc)
        # Only when those run: none of these may take the place of one of them.
        for proc in procs:
            sc.wait_start(proc.pid)
        pinned = [Proc(waits, mcpu=100, kernels=[kernel_id]) for kernel_id in kernel_ids]
        for proc in pinned:
            sc.spawn(proc)
            sc.wait_start(proc.pid)
        pids = [proc.pid for proc in (*procs, *pinned)]
        for pid in pids:
            say("running", pid, *sc.get_file(f"{PLACE}/{pid}").decode().split())
        say("all run")
        with ThreadPoolExecutor(len(pids)) as pool:
            list(pool.map(partial(tell_end, sc), pids))
        sc.rmdir_entries(PLACE)
        sc.rmdir(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
