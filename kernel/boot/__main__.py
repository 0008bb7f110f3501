"""The boot daemon's process: ``python -m kernel.boot REQUEST-JSON REPORT-FD``."""

import sys

import msgspec

from kernel.boot.raychoice import choose
from kernel.boot.request import BootRequest


def _main() -> int:
    request = msgspec.json.decode(sys.argv[1], type=BootRequest)
    join_ray = choose(request)
    from kernel.boot.daemon import main  # after the choice, since it imports Ray

    return main(request, join_ray, int(sys.argv[2]))


sys.exit(_main())
