"""db's Ray actor: a shell around ``DbServer``."""

from __future__ import annotations

from kernel.db.descriptor import SERVICE
from kernel.db.server import DbServer
from kernel.shell import KernelActor, KernelArgs, KernelService


class DbKernel(KernelActor):
    """Serves the instance's database from a process of its own."""

    service = SERVICE

    def make_service(self, args: KernelArgs) -> KernelService:
        return DbServer(args)
