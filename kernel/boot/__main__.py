"""The boot daemon's process: ``python -m kernel.boot REQUEST-JSON REPORT-FD``."""

import os
import sys

from kernel.boot.raychoice import choose
from kernel.boot.request import BootRequest
from sigmaos_ray import decoding


def _main() -> int:
    request = decoding.json_decoder(BootRequest)(sys.argv[1])
    join_ray = choose(request)
    # Ray's library ends its process at once when the raylet is gone and this number is that of no living process; if
    # none is given, when the parent is init, as it is here. The daemon is to outlive a raylet, and to start another.
    os.environ["RAY_RAYLET_PID"] = str(os.getpid())
    from kernel.boot.daemon import main  # after the choice, since it imports Ray

    return main(request, join_ray, int(sys.argv[2]))


sys.exit(_main())
