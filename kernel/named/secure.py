"""aetcd over TLS, which it does not offer itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from aetcd import Client, rpc

from sigmaos_ray.tls.files import PEER_NAME

if TYPE_CHECKING:
    from sigmaos_ray.tls.identity import TlsIdentity


class SecureClient(Client):  # type: ignore[misc]
    """As ``Client``, with the stubs that named uses. Its certificate stays that of its making."""

    def __init__(self, host: str, port: int, tls: TlsIdentity, options: dict[str, Any]) -> None:
        super().__init__(host, port, options=options)
        self._tls = tls

    async def connect(self) -> None:
        """Makes the channel; nothing is dialled yet. Perm without a certificate."""
        options = [*self._options.items(), ("grpc.ssl_target_name_override", PEER_NAME)]
        target = f"{self._host}:{self._port}"
        self.channel = grpc.aio.secure_channel(target, self._tls.channel_credentials(), options=options)
        self.kvstub = rpc.KVStub(self.channel)
        self.clusterstub = rpc.ClusterStub(self.channel)
        self.leasestub = rpc.LeaseStub(self.channel)
        self.maintenancestub = rpc.MaintenanceStub(self.channel)
        self._connected.set()
