"""Connections of each kind as a hostile client has them: bytes go out and come in, whatever they are."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from typing import TYPE_CHECKING

import grpc

from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.pb.sessp_pb2 import Frames
from sigmaos_ray.sessp import plain, wire

if TYPE_CHECKING:
    from sigmaos_ray.sigmap import Endpoint

METHOD = f"/{sessp_pb2.DESCRIPTOR.services_by_name['Sigma'].full_name}/Session"
KINDS = ("grpc", "plain", "local")
"""Plain ones are made over TCP, or over the Unix socket."""

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class Over(Exception):
    """The server ended the connection."""


class Wire(abc.ABC):
    """One connection. ``close`` it."""

    status: grpc.StatusCode | None = None
    """How a server ended a stream; None for other kinds."""
    why = ""
    """What the server said of the end."""
    payload: bytes | None = None
    """What stood behind the last message that was read."""

    @abc.abstractmethod
    async def write(self, data: bytes) -> None:
        """Sends a message. Over."""

    @abc.abstractmethod
    async def read(self) -> bytes:
        """Blocks for a message. Over."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Ends it without a goodbye."""


def wire_to(endpoint: Endpoint, kind: str) -> Wire:
    """A connection of its own to the server."""
    [address] = endpoint.addrs
    if kind == "grpc":
        return GrpcWire(address)
    return PlainWire(dict(endpoint.plain)[address] if kind == "plain" else plain.local_name(address))


class GrpcWire(Wire):
    """A stream."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        self._stream = self._channel.stream_stream(METHOD)()

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            raise Over from None

    async def read(self) -> bytes:
        data: bytes = grpc.aio.EOF
        with contextlib.suppress(grpc.aio.AioRpcError):
            data = await self._stream.read()
        if data is grpc.aio.EOF:
            self.status = await self._stream.code()
            self.why = await self._stream.details()
            raise Over
        return data

    async def close(self) -> None:
        self._stream.cancel()
        await self._channel.close()


class PlainWire(Wire):
    """A socket."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects, the first time."""
        if self._streams is None:
            if self._target.startswith("\0"):
                self._streams = await asyncio.open_unix_connection(self._target)
            else:
                host, _, port = self._target.rpartition(":")
                self._streams = await asyncio.open_connection(host, int(port))
        return self._streams

    async def write(self, data: bytes) -> None:
        await self.write_raw(plain.message(data))

    async def write_raw(self, data: bytes) -> None:
        """Sends what need be no message. Over."""
        _, writer = await self.streams()
        try:
            writer.write(data)
            await writer.drain()
        except OSError:
            raise Over from None

    async def read(self) -> bytes:
        reader, _ = await self.streams()
        try:
            (size,) = plain.SIZE.unpack(await reader.readexactly(plain.SIZE.size))
            payload_bytes = None
            if size & plain.HAS_PAYLOAD:
                (payload_bytes,) = plain.SIZE.unpack(await reader.readexactly(plain.SIZE.size))
            data = await reader.readexactly(size & ~plain.HAS_PAYLOAD)
            self.payload = None if payload_bytes is None else await reader.readexactly(payload_bytes)
        except (asyncio.IncompleteReadError, OSError):
            raise Over from None
        frames = Frames.FromString(data)
        if frames.HasField("error"):
            assert frames.bye
            self.why = str(wire.error_from_pb(frames.error))
        return data

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            writer.transport.abort()
