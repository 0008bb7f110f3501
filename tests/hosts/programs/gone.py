"""Waits until a kernel node has no names. Prints ``waiting``, then ``gone``, with the machine's monotonic clock."""

from __future__ import annotations

import json
import sys
import time

from sigmaos_ray import SigmaClnt

SERVICES = ("ux", "schedd", "s3")


def say(what: str) -> None:
    print(json.dumps([time.monotonic(), what]), flush=True)


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        say("waiting")
        for service in SERVICES:
            sc.wait_remove(f"name/{service}/{argv[0]}")
        say("gone")


if __name__ == "__main__":
    main(sys.argv[1:])
