"""An echo server on each kernel node that is an argument, called from here by its name. Prints each one's address."""

from __future__ import annotations

import sys

from sigmaos_ray import Proc, SigmaClnt
from user.example_echo_server.clnt import EchoClnt

PLACE = "name/echoes"


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.makedirs(PLACE)
        for kernel_id in argv:
            pn = f"{PLACE}/{kernel_id}"
            proc = Proc("example_echo_server", [pn], kernels=[kernel_id])
            sc.spawn(proc)
            sc.wait_start(proc.pid)
            with EchoClnt(sc, pn) as clnt:
                assert clnt.echo(kernel_id) == kernel_id
            print(kernel_id, sc.read_endpoint(pn).addrs[0], flush=True)
            sc.evict(proc.pid)
            sc.wait_exit(proc.pid)
        sc.rmdir(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
