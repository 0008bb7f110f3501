"""Short procs, as many as the first argument says, that Ray spreads over the hosts; each notes in a file of its host,
below the folder that is the second argument, that it ran. Prints lines of JSON, each with the machine's monotonic
clock: ``under way`` once a few have ended, ``ended`` with pid and status of each, ``all ended``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from sigmaos_ray import Proc, SigmaClnt

FIRST_COUNT = 8


def notes(argv: list[str]) -> None:
    """Takes long enough that others need another core."""
    with Path(argv[0], str(os.getpid())).open("a") as file:
        file.write(f"{json.loads(os.environ['SIGMACONFIG'])['pid']}\n")
    time.sleep(0.2)


def say(what: str, *words: str) -> None:
    print(json.dumps([time.monotonic(), what, *words]), flush=True)


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        procs = [Proc(notes, [argv[1]]) for _ in range(int(argv[0]))]
        for proc in procs:
            sc.spawn(proc)
        for number, (pid, status) in enumerate(sc.as_completed([proc.pid for proc in procs])):
            if number == FIRST_COUNT:
                say("under way")
            say("ended", pid, str(status))
    say("all ended")


if __name__ == "__main__":
    main(sys.argv[1:])
