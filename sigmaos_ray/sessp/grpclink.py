"""Connections of kind ``grpc``, from their client's side: one bidirectional stream each."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import grpc

from sigmaos_ray import serr
from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.pb.sessp_pb2 import Frames
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.channel import channel_on, hold_channel, release_channel, way_to
from sigmaos_ray.sessp.link import Link, LinkLost
from sigmaos_ray.sessp.payload import encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.link import LinkUser
    from sigmaos_ray.tls.identity import TlsIdentity

    _Stream: TypeAlias = grpc.aio.StreamStreamCall[bytes, bytes]

_SERVICE: Final = sessp_pb2.DESCRIPTOR.services_by_name["Sigma"]
_BYE: Final = Frames(bye=True).SerializeToString()
_METHOD: Final = f"/{_SERVICE.full_name}/Session"


class GrpcLink(Link):
    """One stream, over the loop's channel to the server."""

    kind = "grpc"

    def __init__(self, address: str, config: Config, tls: TlsIdentity | None = None) -> None:
        """Perm without the certificate that it needs."""
        self._way = way_to(address, tls)
        channel = channel_on(self._way, config)
        self._config = config
        self._wake: asyncio.Future[None] | None = None
        """What the writer sleeps on while there is nothing to send."""
        hold_channel(self._way)
        self._is_held = True
        self._stream: _Stream = channel.stream_stream(_METHOD)()

    async def greet(self, hello: Frames) -> Frames:
        with _as_loss():
            await self._stream.write(hello.SerializeToString())
            return await self._next()

    async def _next(self) -> Frames:
        """The next message. LinkLost at the end, and for what is no message."""
        data = await self._stream.read()
        if data is grpc.aio.EOF:
            raise LinkLost("the server closed the stream")
        try:
            return wire.frames_from(data)
        except serr.UnknownMsg as error:
            raise LinkLost(str(error), final=True) from error

    async def run(self, user: LinkUser) -> None:
        """Writes and reads side by side until one of them ends; the other ends with it."""
        writer = asyncio.create_task(self._write(user), name="session-writer")
        reader = asyncio.create_task(self._read(user), name="session-reader")
        tasks = {writer, reader}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if user.is_closing and not reader.done():
                # The server ends the stream when it has read the goodbye; a cancel now could overtake that.
                await asyncio.wait({reader}, timeout=self._config.session.goodbye_read_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if user.is_closing:
            return
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
        try:
            if errors:
                with _as_loss():
                    raise errors[0]
        finally:
            # What this frame holds would hold it, by the error's traceback, and so keep the channel open.
            del writer, reader, task, tasks, errors

    async def _write(self, user: LinkUser) -> None:
        """Sends what is queued, for as long as the stream takes it; returns after the goodbye."""
        loop = asyncio.get_running_loop()
        while True:
            # Before looking: a call that comes while a write waits is then not slept over.
            self._wake = loop.create_future()
            while (outgoing := user.take()) is not None:
                await self._stream.write(encoded(outgoing))
            if user.is_closing:
                await self._stream.write(_BYE)
                await self._stream.done_writing()
                return
            if not self._wake.done():
                await self._wake

    async def _read(self, user: LinkUser) -> None:
        while True:
            user.received(await self._next())

    def wake(self, *, now: bool = False) -> None:
        wake = self._wake
        if wake is not None and not wake.done():
            wake.set_result(None)

    async def close(self, *, keep: bool) -> None:
        self._stream.cancel()
        if self._is_held:
            self._is_held = False
            await release_channel(self._way, failed=not keep)


@contextmanager
def _as_loss() -> Iterator[None]:
    """What gRPC raises at the end of a stream, as LinkLost."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        error.with_traceback(None)  # gRPC keeps it with the call: its frames would keep the channel open
        is_foreign = error.code() is grpc.StatusCode.UNIMPLEMENTED  # the server's port has another owner by now
        raise LinkLost(f"{error.code().name.lower()}: {error.details()}", final=is_foreign) from error
    except asyncio.InvalidStateError as error:  # grpc.aio says so of a write on a stream that has just ended
        raise LinkLost("the stream ended") from error
