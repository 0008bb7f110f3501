"""Procs that fill their hosts, so that most run elsewhere than their schedd, and end as the arguments say: exit codes,
and ``killed``. Prints a line of JSON for each: how, its kernel node, its schedd's, its status, its pid.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from sigmaos_ray import Proc, SigmaClnt

PLACE = "name/endings"


def ends(argv: list[str]) -> None:
    """Ends as it was told, once all are there."""
    how = argv[0]
    print(f"printed by one that ends by {how}", flush=True)
    with SigmaClnt() as sc:
        sc.put_file(f"{PLACE}/{sc.pid}", f"{sc.proc_env.kernel_id} {sc.proc_env.schedd_id}".encode())
        sc.started()
        sc.wait_create(f"{PLACE}/go", 60)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(int(how))


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.makedirs(PLACE)
        procs = [(how, Proc(ends, [how], mcpu=1500)) for how in argv]
        try:
            for _, proc in procs:
                sc.spawn(proc)
            for _, proc in procs:
                sc.wait_start(proc.pid)
            where = {proc.pid: sc.get_file(f"{PLACE}/{proc.pid}").decode().split() for _, proc in procs}
            sc.put_file(f"{PLACE}/go", b"")
            for how, proc in procs:
                status = sc.wait_exit(proc.pid)
                print(json.dumps([how, *where[proc.pid], str(status), proc.pid]), flush=True)
        finally:
            sc.rmdir_entries(PLACE)
            sc.rmdir(PLACE)


if __name__ == "__main__":
    main(sys.argv[1:])
