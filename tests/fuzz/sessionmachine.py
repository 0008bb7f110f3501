"""A client of one server that goes by no rules, as a state machine: fids, names and numbers are few, so that requests
meet. What must hold: each request is answered exactly once, and whatever it left behind goes with its session."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import hostile
from fuzzservers import ENDS_SOON
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from rawsession import RawSession

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.rpc_pb2 import RpcRequest
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Request
from sigmaos_ray.sigmap import DMDIR, NO_OFFSET, OREAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab import Lab

MAY_WAIT = frozenset({"open", "read", "write", "writeread", "create"})
"""Requests that may wait for others, or come after one that does."""

_CLIENT_ID = 1


class SessionMachine(RuleBasedStateMachine):
    """One session, from its hello to its end."""

    def __init__(self, lab: Lab, looks_at: Callable[[Any], None]) -> None:
        super().__init__()
        self.lab = lab
        self.looks_at = looks_at
        self.session_id = secrets.randbits(63) or 1
        self.session: RawSession

    @initialize()
    def open_session(self) -> None:
        self.lab.run(self._open())
        self.lab.run(self.session.attach(0, self.lab.aname, _CLIENT_ID))
        self.ask(Request(walk=pb.Twalk(fid=0, newfid=1)))
        self.ask(Request(open=pb.Topen(fid=1, mode=OREAD)))

    async def _open(self) -> None:
        self.session = RawSession(self.lab.endpoint, self.session_id, kind=self.lab.attackers)
        await self.session.__aenter__()

    def ask(self, *requests: Request) -> None:
        """Sends; waits for what cannot wait for others."""
        self.lab.run(self._ask(requests))

    async def _ask(self, requests: tuple[Request, ...]) -> None:
        session = self.session
        seqnos = await session.ask(*requests)
        certain = [
            seqno for seqno, request in zip(seqnos, requests, strict=True) if request.WhichOneof("op") not in MAY_WAIT
        ]
        assert await session.answered(*certain), [session.requests[n] for n in certain if n not in session.replies]
        await session.answered(*seqnos, within_s=0.02)

    # -- requests that mean something

    @rule(fid=hostile.FIDS, newfid=hostile.FIDS, names=hostile.paths)
    def walk(self, fid: int, newfid: int, names: list[str]) -> None:
        self.ask(Request(walk=pb.Twalk(fid=fid, newfid=newfid, names=names)))

    @rule(fid=hostile.FIDS, mode=hostile.modes)
    def open_fid(self, fid: int, mode: int) -> None:
        self.ask(Request(open=pb.Topen(fid=fid, mode=mode)))

    @rule(fid=hostile.FIDS, name=hostile.names, perm=hostile.perms, mode=hostile.modes, data=hostile.contents)
    def create(self, fid: int, name: str, perm: int, mode: int, data: bytes) -> None:
        """Through a fid of its own: a create turns its fid into the new entry."""
        create = Request(create=pb.Tcreate(fid=7, name=name, perm=perm, mode=mode, data=data))
        self.ask(Request(clunk=pb.Tclunk(fid=7)))
        self.ask(Request(walk=pb.Twalk(fid=fid, newfid=7)), create)

    @rule(fid=hostile.FIDS, name=st.sampled_from(hostile.NAMES))
    def mkdir(self, fid: int, name: str) -> None:
        self.create(fid, name, DMDIR | 0o777, OREAD, b"")

    @rule(fid=hostile.FIDS, offset=hostile.numbers, count=hostile.small_numbers)
    def read(self, fid: int, offset: int, count: int) -> None:
        self.ask(Request(read=pb.Tread(fid=fid, offset=offset, count=count)))

    @rule(fid=hostile.FIDS, offset=hostile.numbers, data=hostile.contents)
    def write(self, fid: int, offset: int, data: bytes) -> None:
        self.ask(Request(write=pb.Twrite(fid=fid, offset=offset, data=data)))

    @rule(fid=hostile.FIDS, length=hostile.numbers)
    def set_length(self, fid: int, length: int) -> None:
        self.ask(Request(wstat=pb.Twstat(fid=fid, length=length)))

    @rule(fid=hostile.FIDS, names=hostile.paths, data=hostile.contents, mode=hostile.modes, perm=hostile.perms)
    def put(self, fid: int, names: list[str], data: bytes, mode: int, perm: int) -> None:
        offset = NO_OFFSET if mode & 0x80 else 0
        self.ask(Request(putfile=pb.Tputfile(fid=fid, names=names, data=data, mode=mode, perm=perm, offset=offset)))

    @rule(fid=hostile.FIDS, names=hostile.paths, resolve=st.booleans())
    def get(self, fid: int, names: list[str], resolve: bool) -> None:
        self.ask(Request(getfile=pb.Tgetfile(fid=fid, names=names, count=1 << 20, resolve=resolve)))

    @rule(fid=hostile.FIDS)
    def remove(self, fid: int) -> None:
        self.ask(Request(remove=pb.Tremove(fid=fid)))

    @rule(fid=hostile.FIDS, names=hostile.paths)
    def remove_file(self, fid: int, names: list[str]) -> None:
        if names[-1:] != ["canary"]:
            self.ask(Request(removefile=pb.Tremovefile(fid=fid, names=names)))

    @rule(fid=hostile.FIDS, name=hostile.names)
    def rename(self, fid: int, name: str) -> None:
        if name != "canary":
            self.ask(Request(wstat=pb.Twstat(fid=fid, stat=pb.Stat(name=name))))

    @rule(old=hostile.FIDS, new=hostile.FIDS, old_name=hostile.names, new_name=hostile.names)
    def rename_at(self, old: int, new: int, old_name: str, new_name: str) -> None:
        if "canary" not in (old_name, new_name):
            self.ask(Request(renameat=pb.Trenameat(old_fid=old, old_name=old_name, new_fid=new, new_name=new_name)))

    @rule(
        fids=st.lists(hostile.FIDS, max_size=3),
        kind=st.integers(0, 5),
        names=st.lists(hostile.names, min_size=3, max_size=3),
        version=hostile.numbers,
        perm=hostile.perms,
        data=hostile.contents,
        sequential=st.booleans(),
    )
    def transact(
        self, fids: list[int], kind: int, names: list[str], version: int, perm: int, data: bytes, sequential: bool
    ) -> None:
        if "canary" in names:
            return
        changes = [
            pb.Change(
                kind=kind,  # type: ignore[arg-type]
                dirfid=fid,
                name=name,
                version=version,
                perm=perm,
                data=data,
                sequential=sequential,
            )
            for fid, name in zip(fids, names, strict=False)
        ]
        self.ask(Request(transact=pb.Ttransact(changes=changes)))

    @rule(fid=hostile.FIDS, watchfid=hostile.FIDS)
    def watch(self, fid: int, watchfid: int) -> None:
        self.ask(Request(watch=pb.Twatch(dirfid=fid, watchfid=watchfid)))

    @rule(fid=hostile.FIDS, abort=st.booleans())
    def clunk(self, fid: int, abort: bool) -> None:
        self.ask(Request(clunk=pb.Tclunk(fid=fid, abort=abort)))

    @rule(fid=hostile.FIDS, method=hostile.texts, timeout_s=hostile.reals, argument=hostile.contents)
    def call(self, fid: int, method: str, timeout_s: float, argument: bytes) -> None:
        header = RpcRequest(method=method, timeout_s=timeout_s).SerializeToString()
        self.ask(Request(writeread=pb.Twriteread(fid=fid, frames=[header, argument])))

    @rule(client_id=st.sampled_from([_CLIENT_ID, 2]))
    def detach_and_attach(self, client_id: int) -> None:
        self.ask(Request(detach=pb.Tdetach(client_id=client_id)))
        self.ask(Request(attach=pb.Tattach(fid=0, aname=self.lab.aname, client_id=client_id)))

    # -- requests that mean nothing

    @rule(requests=st.lists(hostile.requests.filter(lambda request: not touches_canary(request)), max_size=8))
    def any_requests(self, requests: list[Request]) -> None:
        self.ask(*requests)

    @rule(acks=st.lists(hostile.numbers, max_size=8))
    def acknowledge(self, acks: list[int]) -> None:
        self.lab.run(self.session.send(Frames(acks=acks)))

    @rule(asked=st.lists(hostile.FIDS, min_size=1, max_size=4), is_cut=st.booleans())
    def ask_beside(self, asked: list[int], is_cut: bool) -> None:
        """On one more connection of the session; if that breaks, what is unanswered is asked again on the main one."""
        self.lab.run(self._ask_beside(asked, is_cut))

    async def _ask_beside(self, asked: list[int], is_cut: bool) -> None:
        async with self.session.beside() as beside:
            assert beside.welcome is not None
            if not beside.welcome.accepted:
                return  # the main connection has ended, and the session with it
            seqnos = await beside.ask(*(Request(stat=pb.Tstat(fid=fid)) for fid in asked))
            if not is_cut:
                assert await beside.answered(*seqnos)
                await beside.send(Frames(acks=seqnos))
                await beside.send(Frames(unbind=True))
        again = [self.session.requests[seqno] for seqno in seqnos if seqno not in self.session.replies]
        if again:
            await self.session.send(Frames(requests=again))
            assert await self.session.answered(*(request.seqno for request in again))

    @rule()
    def lose_the_stream(self) -> None:
        """And resume: what was asked is asked again, and answered."""
        self.lab.run(self._resume())

    async def _resume(self) -> None:
        old = self.session
        began_s = time.monotonic()
        await old.__aexit__()
        again = sorted(old.unanswered())
        hello = Frames(hello=Hello(session_id=self.session_id, resume=True, outstanding=again))
        self.session = RawSession(self.lab.endpoint, self.session_id, kind=self.lab.attackers, hello=hello)
        self.session.continues(old)
        await self.session.__aenter__()
        assert self.session.welcome is not None
        if not self.session.welcome.accepted:
            assert time.monotonic() - began_s >= ENDS_SOON.session_timeout_s, "refused, though it came in time"
            await self.session.__aexit__()
            self.session_id = secrets.randbits(63) or 1
            await self._open()
            return
        await self.session.send(Frames(requests=[self.session.requests[seqno] for seqno in again]))

    def teardown(self) -> None:
        if hasattr(self, "session") and self.session.welcome is not None:
            self.lab.run(self._end())

    async def _end(self) -> None:
        session = self.session
        clients = {request.attach.client_id for request in session.requests.values() if request.HasField("attach")}
        await session.ask(*(Request(detach=pb.Tdetach(client_id=client_id)) for client_id in clients))
        everything = list(session.requests)
        assert await session.answered(*everything), [session.requests[seqno] for seqno in session.unanswered()]
        assert set(session.reply_counts) == set(everything)
        assert set(session.reply_counts.values()) == {1}, "a request was answered twice"
        self.looks_at(session)
        await session.bye()
        await session.__aexit__()
        await self.lab.check_alive()
        await self.lab.check_clean()


def touches_canary(request: Request) -> bool:
    """The canary's file is what tells that the server works: nobody else may touch it, nor remove all around it."""
    return request.remove.all or "canary" in str(request)


def run(lab: Lab, profile: settings, looks_at: Callable[[RawSession], None] = lambda _: None) -> None:
    make: Any = lambda: SessionMachine(lab, looks_at)  # noqa: E731  # Hypothesis asks for a class, and calls it
    run_state_machine_as_test(make, settings=profile)
