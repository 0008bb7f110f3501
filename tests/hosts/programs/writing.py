"""Writes a file again and again until ``name/stop-writing`` is there, one write after the other. Prints when each was
acknowledged: lines of JSON, with the machine's monotonic clock, which all hosts of one machine share.
"""

from __future__ import annotations

import json
import sys
import time

from sigmaos_ray import SigmaClnt, serr

PAUSE_S = 0.1
STOP = "name/stop-writing"


def say(what: str, *words: str) -> None:
    print(json.dumps([time.monotonic(), what, *words]), flush=True)


def main() -> None:
    with SigmaClnt() as sc:
        number = 0
        while True:
            try:
                sc.put_file("name/written", b"%d" % number)
                say("wrote", str(number))
                number += 1
                if STOP.removeprefix("name/") in {stat.name for stat in sc.get_dir("name/")}:
                    break
            except serr.SESSION_ERRORS as error:  # nobody knows whether it was written: it is written again
                say("failed", str(error))
            time.sleep(PAUSE_S)
        sc.remove(STOP)
    sys.stdout.close()


if __name__ == "__main__":
    main()
