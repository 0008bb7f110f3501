"""A session as a hostile client has it: any bytes, any message, no rules. It notes what the server answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Self

import grpc

from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = f"/{sessp_pb2.DESCRIPTOR.services_by_name['Sigma'].full_name}/Session"
ANSWER_S = 10.0
"""In which a server answers what does not wait for anybody, on a busy machine."""

_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class RawSession:
    """One stream on a connection of its own. ``async with`` says hello and reads all that comes."""

    def __init__(self, address: str, session_id: int, *, hello: Frames | None = None, reads: bool = True) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        self._stream = self._channel.stream_stream(METHOD)()
        self._hello = hello or Frames(hello=Hello(session_id=session_id))
        self._reads = reads
        self._reader: asyncio.Task[None] | None = None
        self._seqno = 0
        self._changed = asyncio.Event()
        self.welcome: Welcome | None = None
        self.requests: dict[int, Request] = {}
        self.replies: dict[int, Reply] = {}
        self.reply_counts: Counter[int] = Counter()
        self.reply_bytes = 0
        self.said_bye = False
        self.is_over = False

    async def __aenter__(self) -> Self:
        await self.send(self._hello)
        try:
            first = await asyncio.wait_for(self._stream.read(), ANSWER_S)
        except grpc.aio.AioRpcError:
            first = grpc.aio.EOF
        if first is grpc.aio.EOF:
            self.is_over = True
            return self
        self.welcome = Frames.FromString(first).welcome
        if self._reads:
            self.start_reading()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stream.cancel()
        if self._reader is not None:
            await asyncio.wait({self._reader})
        await self._channel.close()

    def start_reading(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while (data := await self._stream.read()) is not grpc.aio.EOF:
                self.reply_bytes += len(data)
                frames = Frames.FromString(data)
                self.said_bye |= frames.bye
                for reply in frames.replies:
                    self.replies[reply.seqno] = reply
                    self.reply_counts[reply.seqno] += 1
                self._changed.set()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass
        finally:
            self.is_over = True
            self._changed.set()

    def continues(self, older: RawSession) -> None:
        """This is another stream of the same session."""
        self._seqno = older._seqno
        self.requests, self.replies, self.reply_counts = older.requests, older.replies, older.reply_counts

    # -- sending

    async def send(self, frames: Frames) -> None:
        await self.send_bytes(frames.SerializeToString())

    async def send_bytes(self, data: bytes) -> None:
        """Sends; nothing happens if the server has ended the stream."""
        try:
            await self._stream.write(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self.is_over = True

    def number(self, request: Request) -> Request:
        """Gives a request the next number."""
        self._seqno += 1
        request.seqno = self._seqno
        self.requests[self._seqno] = request
        return request

    async def ask(self, *requests: Request) -> list[int]:
        """Sends requests in one message; returns their numbers."""
        numbered = [self.number(request) for request in requests]
        await self.send(Frames(requests=numbered))
        return [request.seqno for request in numbered]

    async def bye(self) -> None:
        await self.send(Frames(bye=True))
        await self.ended()

    # -- waiting

    async def until(self, condition: Callable[[], bool], within_s: float = ANSWER_S) -> bool:
        """Waits for something to arrive; False if it did not in time."""
        try:
            async with asyncio.timeout(within_s):
                while not condition() and not self.is_over:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return condition()
        return condition()

    async def answered(self, *seqnos: int, within_s: float = ANSWER_S) -> bool:
        return await self.until(lambda: all(seqno in self.replies for seqno in seqnos), within_s)

    def unanswered(self) -> set[int]:
        return self.requests.keys() - self.replies.keys()

    async def call(self, request: Request) -> Reply:
        """Sends one request, and waits for its reply."""
        (seqno,) = await self.ask(request)
        assert await self.answered(seqno), f"no answer to {request}"
        return self.replies[seqno]

    async def attach(self, fid: int, aname: str = "", client_id: int = 1) -> Reply:
        return await self.call(Request(attach=pb.Tattach(fid=fid, aname=aname, client_id=client_id)))

    async def ended(self) -> tuple[grpc.StatusCode, str]:
        """How the server ended the stream; waits for it."""
        if self._reader is not None:
            assert await self.until(lambda: self.is_over), "the server did not end the stream"
        code = await asyncio.wait_for(self._stream.code(), ANSWER_S)
        return code, await self._stream.details()


async def reached(condition: Callable[[], bool], within_s: float = ANSWER_S) -> None:
    """Waits for a state of the server's, which nothing announces."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + within_s
    while not condition():
        assert loop.time() < ends_s, "the state was not reached"
        await asyncio.sleep(0.01)
