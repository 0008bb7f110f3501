"""Spawns a program and exits at once, without waiting for it."""

from sigmaos_ray import Proc, SigmaClnt, Status


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        child = Proc(argv[0], argv[2:], pid=argv[1])
        sc.spawn(child)
        sc.wait_start(child.pid)
        sc.clnt_exit(Status.info("left", child.pid))
