"""Ends in the way that its first argument says."""

import os
import signal
import subprocess
import sys

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> None:
    how = argv[0]
    if "started" in argv:
        SigmaClnt().started()
    match how:
        case "exit7":
            os._exit(7)
        case "sysexit3":
            sys.exit(3)
        case "sysexit0":
            sys.exit(0)
        case "text":
            sys.exit("no more")
        case "raise":
            raise ValueError("boom")
        case "report":
            SigmaClnt().exited(Status.info("reported", 1.5))
            os._exit(9)
        case "children":
            child = subprocess.Popen(["sleep", "1000"])
            SigmaClnt().put_file(argv[1], str(child.pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            os.kill(os.getpid(), getattr(signal, how))
