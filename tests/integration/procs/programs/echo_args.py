"""Reports its arguments and what it knows of itself."""

import os
import sys

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.started()
        seen = {"argv": argv, "sys_argv": sys.argv, "pid": sc.pid, "kernel_id": sc.kernel_id, "x": os.environ.get("X")}
        sc.clnt_exit(Status.info("Hello world", seen))
