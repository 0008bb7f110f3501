"""Spawns the next link of a chain and waits for it."""

from sigmaos_ray import Proc, SigmaClnt, Status


def main(argv: list[str]) -> int | Status:
    depth = int(argv[0])
    if depth == 0:
        return 0
    with SigmaClnt() as sc:
        child = Proc("programs.chain", [str(depth - 1)])
        sc.spawn(child)
        status = sc.wait_exit(child.pid)
        return status.data + 1 if status.is_ok() and isinstance(status.data, int) else status
