"""aetcd over channels that it does not make itself: TLS, and Unix sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from aetcd import Client, rpc

from sigmaos_ray.tls.files import PEER_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray.tls.identity import TlsIdentity


class ChannelClient(Client):  # type: ignore[misc]
    """As ``Client``, with the stubs that named uses; it closes the channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__()
        self._made = channel

    async def connect(self) -> None:
        """Nothing is dialled yet."""
        self.channel = self._made
        self.kvstub = rpc.KVStub(self.channel)
        self.clusterstub = rpc.ClusterStub(self.channel)
        self.leasestub = rpc.LeaseStub(self.channel)
        self.maintenancestub = rpc.MaintenanceStub(self.channel)
        self._connected.set()


def secure_channel(endpoint: str, tls: TlsIdentity, options: Mapping[str, int]) -> grpc.aio.Channel:
    """To ``host:port``; its certificate stays that of its making. Perm without one."""
    all_options = [*options.items(), ("grpc.ssl_target_name_override", PEER_NAME)]
    return grpc.aio.secure_channel(endpoint, tls.channel_credentials(), options=all_options)


def local_channel(path: str, options: Mapping[str, int]) -> grpc.aio.Channel:
    """To a Unix socket."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=[*options.items()])
