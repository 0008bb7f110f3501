"""What gRPC's own tools ask of any server: whether it serves, and what. Servers alone import this, no client does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

if TYPE_CHECKING:
    import grpc


class Health:
    """Health and reflection of one gRPC server that offers ``service``; made before that starts."""

    def __init__(self, server: grpc.aio.Server, service: str) -> None:
        self._service = service
        self._servicer = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        reflection.enable_server_reflection((service, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    async def serves(self) -> None:
        """From now on the answer is yes."""
        for service in ("", self._service):
            await self._servicer.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def ends(self) -> None:
        """From now on the answer is no, for good."""
        await self._servicer.enter_graceful_shutdown()
