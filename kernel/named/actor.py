"""named's Ray actor: a shell around ``NamedServer``."""

from __future__ import annotations

from kernel.named.server import NamedServer
from kernel.shell import KernelActor, KernelArgs, KernelService


class NamedKernel(KernelActor):
    """Ends when it loses the leadership, so that boot starts another."""

    def make_service(self, args: KernelArgs) -> KernelService:
        return NamedServer(args, on_lost=self.end)
