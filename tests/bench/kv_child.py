"""One client process: ``python kv_child.py STATE_FILE JOB BATCH``. Says ``ready``; then, for each line with a number of
seconds on its standard input, gets keys for so long, BATCH in one call, and tells how many, and its slowest call."""

from __future__ import annotations

import os
import sys
import time

from sigmaos_ray import SigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.instance import read_instance
from user.kv.blocking import KvClerk

KEYS_COUNT = 1000


def main(state_file: str, job: str, batch: int) -> None:
    instance = read_instance(state_file)
    assert instance is not None
    env = ProcEnv(pid=f"kv-child-{os.getpid()}", realm=instance.realm, named=instance.named, state_file=state_file)
    keys = [f"key-{number}" for number in range(KEYS_COUNT)]
    with SigmaClnt(env) as sc, KvClerk(sc, job) as clerk:
        clerk.put_many(dict.fromkeys(keys, bytes(100)))
        print("ready", flush=True)
        for line in sys.stdin:
            count, slowest_s = 0, 0.0
            end_s = time.monotonic() + float(line)
            while (began_s := time.monotonic()) < end_s:
                at = count % KEYS_COUNT
                if batch == 1:
                    clerk.get(keys[at])
                else:
                    clerk.get_many(keys[at : at + batch])
                count += batch
                slowest_s = max(slowest_s, time.monotonic() - began_s)
            print(count, slowest_s, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
