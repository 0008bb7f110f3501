"""Best-effort procs, as many as the first argument says, that Ray spreads over the hosts and that run until they are
evicted; each has a child, ``sleep 4711``. Prints lines of JSON, each with the monotonic clock that all hosts of one
machine share: ``running`` and where, ``all run``, ``ended`` and how. As many short procs as the second argument says
run once there is a directory ``burst``; their ends are ``short``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sigmaos_ray import Proc, SigmaClnt

PLACE = "name/spread"


def waits(argv: list[str]) -> None:
    """Until it is evicted."""
    print("here it is", flush=True)
    subprocess.Popen(["sleep", "4711"])
    # The main thread sleeps: in a call that takes long it would give its core back, for another proc on the same host.
    telling = threading.Thread(target=tells)
    telling.start()
    while telling.is_alive():
        time.sleep(0.1)


def tells() -> None:
    with SigmaClnt() as sc:
        sc.put_file(f"{PLACE}/{sc.pid}", f"{sc.proc_env.kernel_id} {sc.proc_env.schedd_id}".encode())
        sc.started()
        sc.wait_evict()


def short(argv: list[str]) -> None:
    """Long enough that others need another core."""
    time.sleep(0.2)


def say(what: str, *words: str) -> None:
    print(json.dumps([time.monotonic(), what, *words]), flush=True)


def tell_end(sc: SigmaClnt, what: str, pid: str) -> None:
    say(what, pid, str(sc.wait_exit(pid)))


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.makedirs(PLACE)
        procs = [Proc(waits) for _ in range(int(argv[0]))]
        for proc in procs:
            sc.spawn(proc)
        for proc in procs:
            sc.wait_start(proc.pid)
            say("running", proc.pid, *sc.get_file(f"{PLACE}/{proc.pid}").decode().split())
        say("all run")
        with ThreadPoolExecutor(64) as pool:
            ends = [pool.submit(partial(tell_end, sc, "ended", proc.pid)) for proc in procs]
            sc.wait_create(f"{PLACE}/burst")
            burst = [Proc(short) for _ in range(int(argv[1]))]
            for proc in burst:
                sc.spawn(proc)
            ends += [pool.submit(partial(tell_end, sc, "short", proc.pid)) for proc in burst]
            for end in ends:
                end.result()
        sc.rmdir_entries(PLACE)
        sc.rmdir(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
