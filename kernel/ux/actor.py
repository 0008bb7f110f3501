"""ux's Ray actor: a shell around ``UxServer``."""

from __future__ import annotations

import resource

from kernel.shell import KernelActor, KernelArgs, KernelService
from kernel.ux.descriptor import SERVICE
from kernel.ux.server import UxServer


class UxKernel(KernelActor):
    """Serves the node's files from a process of its own."""

    service = SERVICE

    def make_service(self, args: KernelArgs) -> KernelService:
        _raise_descriptor_limit()
        return UxServer(args)


def _raise_descriptor_limit() -> None:
    """Each file that a client has open is a descriptor here: as many as the system lets us have."""
    # The soft limit is 1024 on most systems, which ten clients with a hundred files each would reach.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
