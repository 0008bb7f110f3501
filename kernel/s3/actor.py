"""s3's Ray actor: a shell around ``S3Server``."""

from __future__ import annotations

from kernel.s3.descriptor import SERVICE
from kernel.s3.server import S3Server
from kernel.shell import KernelActor, KernelArgs, KernelService


class S3Kernel(KernelActor):
    """Serves the buckets of the instance's account from a process of its own."""

    service = SERVICE

    def make_service(self, args: KernelArgs) -> KernelService:
        return S3Server(args)
