"""A session as a hostile client has it: any bytes, any message, no rules. It notes what the server answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Self

from rawwires import Over, wire_to

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.sigmap import Endpoint

ANSWER_S = 10.0
"""In which a server answers what does not wait for anybody, on a busy machine."""


class RawSession:
    """One session on a connection of its own, of one of ``rawwires.KINDS``. ``async with`` says hello and reads all
    that comes."""

    def __init__(
        self,
        endpoint: Endpoint,
        session_id: int,
        *,
        kind: str = "grpc",
        hello: Frames | None = None,
        reads: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.kind = kind
        self.wire = wire_to(endpoint, kind)
        self.session_id = session_id
        self._hello = hello or Frames(hello=Hello(session_id=session_id))
        self._reads = reads
        self._reader: asyncio.Task[None] | None = None
        self._last_seqno = [0]
        """Shared by the connections of a session."""
        self._changed = asyncio.Event()
        self.welcome: Welcome | None = None
        self.requests: dict[int, Request] = {}
        self.replies: dict[int, Reply] = {}
        self.payloads: dict[int, bytes] = {}
        """That stood behind replies."""
        self.reply_counts: Counter[int] = Counter()
        self.reply_bytes = 0
        self.pong_count = 0
        self.said_bye = False
        self.is_over = False

    async def __aenter__(self) -> Self:
        await self.send(self._hello)
        try:
            first = await asyncio.wait_for(self.wire.read(), ANSWER_S)
        except Over:
            self.is_over = True
            return self
        frames = Frames.FromString(first)
        if frames.HasField("welcome"):
            self.welcome = frames.welcome
        if self._reads:
            self.start_reading()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        await self.wire.close()

    def start_reading(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                data = await self.wire.read()
                self.reply_bytes += len(data)
                frames = Frames.FromString(data)
                if frames.HasField("welcome"):
                    self.welcome = frames.welcome
                self.said_bye |= frames.bye
                self.pong_count += frames.pong
                for reply in frames.replies:
                    self.replies[reply.seqno] = reply
                    if self.wire.payload is not None:
                        self.payloads[reply.seqno] = self.wire.payload
                    self.reply_counts[reply.seqno] += 1
                self._changed.set()
        except (Over, asyncio.CancelledError):
            pass
        finally:
            self.is_over = True
            self._changed.set()

    def continues(self, older: RawSession) -> None:
        """This is another connection of the same session."""
        self._last_seqno = older._last_seqno
        self.requests, self.replies, self.reply_counts = older.requests, older.replies, older.reply_counts
        self.payloads = older.payloads

    # -- sending

    async def send(self, frames: Frames) -> None:
        await self.send_bytes(frames.SerializeToString())

    async def send_bytes(self, data: bytes) -> None:
        """Sends; nothing happens if the server has ended the connection."""
        try:
            await self.wire.write(data)
        except Over:
            # What the server said is still to be read.
            self.is_over = self._reader is None or self._reader.done()

    def number(self, request: Request) -> Request:
        """Gives a request the next number."""
        self._last_seqno[0] += 1
        request.seqno = self._last_seqno[0]
        self.requests[request.seqno] = request
        return request

    async def ask(self, *requests: Request) -> list[int]:
        """Sends requests in one message; returns their numbers."""
        numbered = [self.number(request) for request in requests]
        await self.send(Frames(requests=numbered))
        return [request.seqno for request in numbered]

    async def bye(self) -> None:
        """Ends the session, and waits until the server has."""
        await self.send(Frames(bye=True))
        assert await self.until(lambda: self.said_bye or self.is_over), "the goodbye was not answered"

    def beside(self, key: bytes = b"") -> RawSession:
        """One more connection of this session, of the same kind."""
        hello = Frames(hello=Hello(session_id=self.session_id, key=key, bind=True))
        other = RawSession(self.endpoint, self.session_id, kind=self.kind, hello=hello)
        other.continues(self)
        return other

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

    def has_pongs(self, count: int) -> bool:
        return self.pong_count == count

    def unanswered(self) -> set[int]:
        return self.requests.keys() - self.replies.keys()

    async def call(self, request: Request) -> Reply:
        """Sends one request, and waits for its reply."""
        (seqno,) = await self.ask(request)
        assert await self.answered(seqno), f"no answer to {request}"
        return self.replies[seqno]

    async def attach(self, fid: int, aname: str = "", client_id: int = 1) -> Reply:
        return await self.call(Request(attach=pb.Tattach(fid=fid, aname=aname, client_id=client_id)))

    async def ended(self) -> str:
        """What the server said when it ended the connection; waits for it."""
        if self._reader is not None:
            assert await self.until(lambda: self.is_over), "the server did not end the connection"
            return self.wire.why
        try:
            async with asyncio.timeout(ANSWER_S):
                while True:
                    await self.wire.read()
        except Over:
            return self.wire.why


async def reached(condition: Callable[[], bool], within_s: float = ANSWER_S) -> None:
    """Waits for a state of the server's, which nothing announces."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + within_s
    while not condition():
        assert loop.time() < ends_s, "the state was not reached"
        await asyncio.sleep(0.01)
