"""The boot daemon's process: ``python -m kernel.boot REQUEST-JSON REPORT-FD``."""

import os
import sys

from kernel.boot.raychoice import choose
from kernel.boot.request import BootRequest
from kernel.raylib import own
from sigmaos_ray import decoding


def _main() -> int:
    request = decoding.json_decoder(BootRequest)(sys.argv[1])
    join_ray = choose(request)
    own.outlive_raylets()
    from kernel.boot.daemon import main  # after the choice, since it imports Ray

    return main(request, join_ray, int(sys.argv[2]))


code = _main()
sys.stdout.flush()
sys.stderr.flush()
# Not sys.exit: at its exit Ray takes leave once more, and Python waits for threads that ask a Ray which is gone.
os._exit(code)
