"""The rules of a session (S-2, S-3), against streams that lose, double and reorder what they carry.

A little world: a client state, a server state, and a wire between them that hypothesis drives. Whatever it does, no
request runs twice, every reply belongs to its request, and once the wire behaves every request is answered.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request, Welcome
from sigmaos_ray.sessp.state import ClientState, ServerState, Treatment

SERVER_ID = 7


class World:
    """Both ends, and two wires of messages under way."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.client = ClientState(1, ack_batch=4)
        self.server = ServerState[bytes]()
        self.to_server: list[Frames] = []
        self.to_client: list[Reply] = []
        self.ran: Counter[int] = Counter()
        self.running: list[int] = []
        self.answers: dict[int, int] = {}
        self.seqnos: list[int] = []
        self.connect()

    def connect(self) -> None:
        """A new stream: what was under way on the old one is lost."""
        self.to_server.clear()
        self.to_client.clear()
        hello = self.client.hello().hello
        assert self.client.welcomed(Welcome(server_id=SERVER_ID, accepted=True))
        if hello.resume:
            self.server.resumed(hello.outstanding, hello.numbered_to)

    def ask(self) -> None:
        seqno = self.client.request(Request(read=pb.Tread(fid=len(self.seqnos))))
        self.seqnos.append(seqno)

    def send(self) -> None:
        frames = self.client.take(1 << 20)
        if frames is not None:
            self.to_server.append(Frames.FromString(frames.SerializeToString()))

    def deliver(self, *, reorder: bool = False, double: bool = False) -> None:
        """One message arrives at the server."""
        if not self.to_server:
            return
        frames = self.to_server.pop(self.random.randrange(len(self.to_server)) if reorder else 0)
        if double:
            self.to_server.append(frames)
        self.server.acknowledged(frames.acks)
        for request in frames.requests:
            treatment = self.server.arrived(request.seqno)
            if treatment is Treatment.RUN:
                self.ran[request.seqno] += 1
                self.running.append(request.seqno)
            elif treatment is Treatment.RESEND:
                self.to_client.append(Reply.FromString(self.server.kept(request.seqno)))

    def finish(self) -> None:
        """A request that runs ends, whichever; its reply carries what shows whose it is."""
        if self.running:
            seqno = self.running.pop(self.random.randrange(len(self.running)))
            reply = Reply(seqno=seqno, read=pb.Rread(data=str(seqno).encode()))
            self.server.replied(seqno, reply.SerializeToString())
            self.to_client.append(reply)

    def hear(self, *, double: bool = False) -> None:
        """One reply arrives at the client."""
        if not self.to_client:
            return
        reply = self.to_client.pop(self.random.randrange(len(self.to_client)))
        if double:
            self.to_client.append(reply)
        for first_reply in self.client.received([reply]):
            assert first_reply.seqno not in self.answers, "a reply is told once"
            self.answers[first_reply.seqno] = int(first_reply.read.data)

    def settle(self) -> None:
        """From now on the wire behaves."""
        self.connect()
        for _ in range(10 * len(self.seqnos) + 10):
            self.send()
            self.deliver()
            self.finish()
            self.hear()


STEPS = ("ask", "send", "deliver", "reorder", "double", "finish", "hear", "hear_twice", "connect")


@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 1 << 30), steps=st.lists(st.sampled_from(STEPS), max_size=120))
def test_nothing_runs_twice_and_everything_is_answered(seed: int, steps: list[str]) -> None:
    world = World(seed)
    act = {
        "reorder": lambda: world.deliver(reorder=True),
        "double": lambda: world.deliver(double=True),
        "hear_twice": lambda: world.hear(double=True),
    }
    for step in steps:
        act.get(step, lambda step=step: getattr(world, step)())()
    world.settle()
    assert all(count == 1 for count in world.ran.values())
    assert world.answers == {seqno: seqno for seqno in world.seqnos}
    assert world.client.outstanding_count == 0


def test_replies_go_when_they_are_acknowledged() -> None:
    server = ServerState[bytes]()
    assert server.arrived(1) is Treatment.RUN
    assert server.arrived(1) is Treatment.WAIT
    server.replied(1, b"reply")
    assert server.arrived(1) is Treatment.RESEND
    server.acknowledged([1])
    assert server.kept_count == 0
    assert server.arrived(1) is Treatment.REFUSE


def test_an_early_acknowledgement_of_a_running_request_changes_nothing() -> None:
    server = ServerState[bytes]()
    server.arrived(1)
    server.acknowledged([1, 99])
    assert server.arrived(1) is Treatment.WAIT


def test_requests_out_of_order_run_once_each() -> None:
    server = ServerState[bytes]()
    treatments = [server.arrived(seqno) for seqno in (3, 1, 2, 3, 1)]
    assert treatments == [Treatment.RUN, Treatment.RUN, Treatment.RUN, Treatment.WAIT, Treatment.WAIT]


def test_seqno_zero_is_refused() -> None:
    assert ServerState[bytes]().arrived(0) is Treatment.REFUSE


def test_a_reply_may_overtake_the_repeat_of_its_request() -> None:
    """The stream broke while the request ran; its reply comes on the new stream before the client repeats it."""
    client = ClientState(1)
    client.welcomed(Welcome(server_id=1, accepted=True))
    client.request(Request(read=pb.Tread()))
    client.take(1 << 20)
    client.welcomed(Welcome(server_id=1, accepted=True))
    assert [reply.seqno for reply in client.received([Reply(seqno=1)])] == [1]
    assert client.outstanding_count == 0
    assert client.take(1 << 20) is None


def test_resume_forgets_what_the_client_has() -> None:
    server = ServerState[bytes]()
    for seqno in (1, 2, 3):
        server.arrived(seqno)
    server.replied(1, b"reply")
    server.replied(2, b"reply")
    server.resumed([2, 3], numbered_to=3)
    assert server.arrived(1) is Treatment.REFUSE
    assert server.arrived(2) is Treatment.RESEND
    assert server.arrived(3) is Treatment.WAIT


def test_another_life_of_the_server_ends_the_session_with_unknown_outcomes() -> None:
    """S-3: what was sent fails with IOErr, what was not with Unreachable; nothing is repeated blindly."""
    client = ClientState(1)
    assert client.welcomed(Welcome(server_id=1, accepted=True))
    sent = client.request(Request(read=pb.Tread()))
    client.take(1 << 20)
    unsent = client.request(Request(read=pb.Tread()))
    assert not client.welcomed(Welcome(server_id=2, accepted=True))
    failures = client.end(serr.Unreachable("127.0.0.1:1", "another server"))
    assert type(failures[sent]) is serr.IOErr
    assert type(failures[unsent]) is serr.Unreachable
    with pytest.raises(serr.Unreachable):
        client.request(Request())


def test_what_waits_to_be_sent_again_has_an_unknown_outcome() -> None:
    """The session is resumed, and ends before the client has repeated all that the first stream carried."""
    client = ClientState(1)
    client.welcomed(Welcome(server_id=1, accepted=True))
    sent = [client.request(Request(write=pb.Twrite(data=b"x" * 1000))) for _ in range(3)]
    client.take(1 << 20)
    unsent = client.request(Request(read=pb.Tread()))
    client.welcomed(Welcome(server_id=1, accepted=True))
    repeated = client.take(1500)
    assert repeated is not None
    assert [request.seqno for request in repeated.requests] == sent[:1]
    failures = client.end(serr.Unreachable("127.0.0.1:1", "another server"))
    assert [type(failures[seqno]) for seqno in sent] == [serr.IOErr] * 3
    assert type(failures[unsent]) is serr.Unreachable


def test_a_server_that_shut_down_in_order_leaves_no_unknown_outcomes() -> None:
    """It says that it answered all that it ran."""
    client = ClientState(1)
    client.welcomed(Welcome(server_id=1, accepted=True))
    sent = client.request(Request(read=pb.Tread()))
    client.take(1 << 20)
    unsent = client.request(Request(read=pb.Tread()))
    failures = client.end(serr.Unreachable("127.0.0.1:1", "shut down"), none_ran=True)
    assert [type(failures[seqno]) for seqno in (sent, unsent)] == [serr.Unreachable] * 2


def test_a_session_that_timed_out_is_not_made_anew() -> None:
    client = ClientState(1)
    assert not client.hello().hello.resume
    client.welcomed(Welcome(server_id=1, accepted=True))
    assert client.hello().hello.resume
    assert not client.welcomed(Welcome(server_id=1, accepted=False))


def test_concurrent_requests_share_a_message_up_to_its_size() -> None:
    client = ClientState(1)
    for _ in range(10):
        client.request(Request(write=pb.Twrite(data=b"x" * 1000)))
    first = client.take(4096)
    assert first is not None
    assert 1 < len(first.requests) < 10
    sent_count = len(first.requests)
    while (more := client.take(4096)) is not None:
        sent_count += len(more.requests)
    assert sent_count == 10


def test_acknowledgements_travel_with_requests_or_in_batches() -> None:
    client = ClientState(1, ack_batch=2)
    for _ in range(3):
        client.request(Request(read=pb.Tread()))
    client.take(1 << 20)
    client.received([Reply(seqno=1)])
    assert client.take(1 << 20) is None
    client.received([Reply(seqno=2)])
    frames = client.take(1 << 20)
    assert frames is not None
    assert list(frames.acks) == [1, 2]
    client.received([Reply(seqno=3)])
    client.request(Request(read=pb.Tread()))
    frames = client.take(1 << 20)
    assert frames is not None
    assert list(frames.acks) == [3]
