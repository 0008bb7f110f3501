"""Connections of kind ``grpc``, at their server: one bidirectional stream each, of the method ``Sigma.Session``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc

from sigmaos_ray import debug, serr
from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.sessp.connection import ServedConnection
from sigmaos_ray.sessp.payload import Parcel

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.server import SessionServer

_log = debug.selector("SESSSRV")

_SERVICE: Final = sessp_pb2.DESCRIPTOR.services_by_name["Sigma"]
_STATUS: Final = {
    serr.Code.RETRY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    serr.Code.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    serr.Code.CLOSED: grpc.StatusCode.ABORTED,
}
"""What ends a stream, as gRPC says it; anything else is INVALID_ARGUMENT."""
_WRITE_ERRORS: Final = (grpc.aio.BaseError, grpc.aio.UsageError, asyncio.InvalidStateError)
"""What gRPC raises for a write on a stream that has ended."""


def add_to(server: grpc.aio.Server, sessions: SessionServer, config: Config) -> None:
    """Offers ``Sigma.Session``. Messages pass as bytes: what is none is answered by the sessions, not by gRPC."""

    async def session(request_iterator: object, context: grpc.aio.ServicerContext) -> None:
        await _StreamConnection(context, sessions, config).serve()

    handlers = {"Session": grpc.stream_stream_rpc_method_handler(session)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),))


class _StreamConnection(ServedConnection):
    """One stream. gRPC calls ``serve`` in a task, which reads; it, or another one, writes."""

    kind = "grpc"
    can_stay = False

    def __init__(self, context: grpc.aio.ServicerContext, sessions: SessionServer, config: Config) -> None:
        super().__init__(config)
        self._context = context
        self._sessions = sessions
        self._reader: asyncio.Task[Any] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._is_writing = False
        self._written: asyncio.Future[None] | None = None
        """What waits for the end of all writing."""
        self._is_over = False
        """True after the goodbye: nothing more is read."""
        self._taken: asyncio.Future[None] | None = None
        """What the reader waits for while requests wait to be taken."""
        self._closed_by: serr.SigmaError | None = None

    async def serve(self) -> None:
        """From the hello to the end."""
        self._reader = asyncio.current_task()
        try:
            self._sessions.came(self)
            await self._read()
        except asyncio.CancelledError:
            if self._closed_by is None:
                raise
            # Said to the client: it may live, with two streams, and must not take this for the end of the session.
            await self._abort(self._closed_by)
        except serr.SigmaError as error:
            self._sessions.offended(self)
            await self._abort(error)
        finally:
            self._sessions.went(self)
            if self._flusher is not None:
                self._flusher.cancel()

    async def _abort(self, error: serr.SigmaError) -> None:
        _log(f"stream ended: {error}")
        await self._context.abort(_STATUS.get(error.code, grpc.StatusCode.INVALID_ARGUMENT), str(error))

    async def _read(self) -> None:
        while not self._is_over:
            data: bytes = await self._context.read()
            if data is grpc.aio.EOF:
                return
            self._sessions.message(self, data)
            await self._write()
            if self.has_untaken:
                self._taken = asyncio.get_running_loop().create_future()
                await self._taken

    def all_taken(self) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)

    def flush(self) -> None:
        # The reader does so itself when it has taken what came; what waits for room would wait for that.
        if self.has_untaken:
            self.flush_soon()

    def flush_soon(self) -> None:
        is_scheduled = self._flusher is not None and not self._flusher.done()
        if self.outbox and not (self._is_writing or is_scheduled or self.is_lost):
            self._flusher = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Sends what is in the outbox, all of it in as few messages as fit. Returns at once if that is being done
        already: gRPC takes one write at a time, and whoever writes also takes what is queued meanwhile."""
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self.outbox and not self.is_lost:
                message = self.outbox.take(self._config.wire.frames_bytes_target)
                try:
                    await self._context.write(message.whole() if isinstance(message, Parcel) else message)
                except _WRITE_ERRORS as error:
                    _log(f"write: {type(error).__name__}")
                    self.lost()  # the reader notices too, and a resume sends the kept replies again
                    return
                if self.session is not None:
                    self.session.make_room()
        finally:
            self._is_writing = False
            if self._written is not None and not self._written.done():
                self._written.set_result(None)

    async def flushed(self) -> None:
        await self._write()
        if self._is_writing:
            self._written = asyncio.get_running_loop().create_future()
            await self._written

    def is_flushed(self) -> bool:
        return not (self.outbox or self._is_writing)

    def refuse(self, error: serr.SigmaError) -> None:
        self._closed_by = error
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()

    def refused(self) -> None:
        self._is_over = True

    def said_bye(self) -> None:
        self._is_over = True
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        self._sessions.said_bye(self)
