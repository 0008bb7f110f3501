"""A file server in memory (R-11): an empty tree at a pathname of your choice, lost when the proc ends.

sigmaos spawn memfs name/scratch
"""

from __future__ import annotations

import sys

from sigmaos_ray.sigmasrv import SigmaSrv

USAGE = "usage: memfs PATHNAME"


def main(argv: list[str]) -> None:
    """Serves until it is evicted. Exists if the name is taken."""
    if len(argv) != 1:
        sys.exit(USAGE)
    with SigmaSrv(argv[0]) as server:
        server.serve()
