"""Appends its pid to a file, sleeps a little, and appends it to another: so it can be told how often it ran, and how
far."""

import os
import sys
import time

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> str:
    directory, nap_s = argv
    pid = SigmaClnt().pid
    _append(f"{directory}/began", pid)
    time.sleep(float(nap_s))
    _append(f"{directory}/ended", pid)
    return pid


def _append(file: str, pid: str) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, f"{pid}\n".encode())
    finally:
        os.close(fd)
        sys.stdout.flush()
