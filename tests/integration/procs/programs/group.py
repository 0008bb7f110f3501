"""Ignores every request to end, with a child that does, too. Tells its process ids in the file that it is given."""

import os
import signal
import subprocess
import time

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sh", "-c", 'trap "" TERM; while :; do sleep 1; done'])
    with SigmaClnt() as sc:
        sc.put_file(argv[0], f"{os.getpid()} {child.pid}".encode())
        sc.started()
        while True:
            time.sleep(1)
