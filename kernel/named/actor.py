"""named's Ray actor: a shell around ``NamedServer``."""

from __future__ import annotations

import ray

from kernel.named.server import NamedServer
from kernel.shell import KernelActor, KernelArgs, KernelService


class NamedKernel(KernelActor):
    """Ends when it loses the leadership, so that boot starts another."""

    def __init__(self, args: KernelArgs) -> None:
        super().__init__("named", args)

    def make_service(self, args: KernelArgs) -> KernelService:
        return NamedServer(args, on_lost=self.end)


NamedActor = ray.remote(num_cpus=0, max_restarts=0, max_concurrency=8)(NamedKernel)
