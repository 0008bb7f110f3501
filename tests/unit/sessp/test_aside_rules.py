"""The rules of a session with connections beside its main one, against losses of any of them at any moment.

A little world that hypothesis drives: requests go out on the main connection or beside it, connections break, what was
beside goes out again on the main one, a hello is under way while others go on. Nothing runs twice, everything is
answered; and if the server says goodbye, whoever is told that a request never ran is told the truth.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome
from sigmaos_ray.sessp.state import ClientState, ServerState, Treatment

WELCOME = Welcome(server_id=7, accepted=True)


@dataclass(eq=False)
class Way:
    """One connection."""

    is_main: bool
    to_server: list[Frames] = field(default_factory=list)
    to_client: list[Reply] = field(default_factory=list)
    acks: list[int] = field(default_factory=list)
    waits_for: int = 0
    """Beside the main one: the request that waits there."""
    is_lost: bool = False
    """For the client. What it sent may still arrive."""
    is_known_lost: bool = False
    """The server has noticed."""


class World:
    """Both ends, and what is under way between them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.client = ClientState(1, ack_batch=4)
        self.server = ServerState[bytes]()
        self.main = Way(is_main=True)
        self.hello: Hello | None = None
        """Under way on a new main connection."""
        self.beside: list[Way] = []
        self.ran: Counter[int] = Counter()
        self.running: dict[int, Way] = {}
        """Where each came from last."""
        self.answers: dict[int, int] = {}
        self.seqnos: list[int] = []
        self.may_lack_replies = False
        self.client.hello()
        assert self.client.welcomed(WELCOME)
        self.ask()  # a session begins with an attach

    # -- the client's steps

    def ask(self) -> None:
        self.seqnos.append(self.client.request(self._request()))

    def _request(self) -> Request:
        return Request(read=pb.Tread(fid=len(self.seqnos)))

    def send(self) -> None:
        frames = self.client.take(1 << 20) if self.hello is None else None
        if frames is not None:
            self.main.to_server.append(Frames.FromString(frames.SerializeToString()))

    def ask_beside(self) -> None:
        """On one that is idle, or on a new one."""
        request = self._request()
        seqno = self.client.request_aside(request)
        self.seqnos.append(seqno)
        idle = [way for way in self.beside if not way.waits_for and not way.is_lost]
        way = self.dice.choice(idle) if idle else Way(is_main=False)
        if not idle:
            self.beside.append(way)
        way.waits_for = seqno
        sent = Frames(requests=[request], acks=way.acks)
        way.acks = []
        way.to_server.append(Frames.FromString(sent.SerializeToString()))

    def lose_beside(self) -> None:
        """With whatever is under way to the client; what is under way to the server may still arrive."""
        ways = [way for way in self.beside if not way.is_lost]
        if not ways:
            return
        way = self.dice.choice(ways)
        way.is_lost = True
        way.to_client.clear()
        if way.waits_for:
            assert self.client.take_back(way.waits_for)

    def lose_main(self) -> None:
        """And say hello on another one, which the server has not read yet."""
        self.main.is_lost = True
        self.main.to_client.clear()
        self.main.to_server.clear()
        self.hello = Hello.FromString(self.client.hello().hello.SerializeToString())
        assert self.hello.resume

    def hear(self) -> None:
        ways = [way for way in (self.main, *self.beside) if way.to_client]
        if not ways:
            return
        way = self.dice.choice(ways)
        reply = way.to_client.pop(0)
        if way.is_main:
            for first in self.client.received([reply]):
                self._answered(first)
        elif reply.seqno == way.waits_for:
            self.client.answered_aside(reply.seqno)
            way.acks.append(reply.seqno)
            way.waits_for = 0
            self._answered(reply)

    def _answered(self, reply: Reply) -> None:
        assert reply.seqno not in self.answers, "a reply is told once"
        assert not reply.HasField("error"), "nothing was forgotten that was waited for"
        self.answers[reply.seqno] = int(reply.read.data)

    # -- the server's

    def greet(self) -> None:
        """Reads the hello."""
        if self.hello is None:
            return
        self.may_lack_replies = True  # the older connection is lost
        self.server.resumed(self.hello.outstanding, self.hello.numbered_to)
        self.hello = None
        self.main.is_known_lost = True
        self.main = Way(is_main=True)
        assert self.client.welcomed(WELCOME)

    def notice(self) -> None:
        """That a connection beside is gone."""
        ways = [way for way in self.beside if way.is_lost and not way.is_known_lost]
        if ways:
            way = self.dice.choice(ways)
            way.is_known_lost = True
            way.to_server.clear()
            self.may_lack_replies = True

    def deliver(self) -> None:
        ways = [way for way in (self.main, *self.beside) if way.to_server]
        if not ways:
            return
        way = self.dice.choice(ways)
        frames = way.to_server.pop(0)
        self.server.acknowledged(frames.acks)
        for request in frames.requests:
            treatment = self.server.arrived(request.seqno)
            if treatment is Treatment.RUN:
                self.ran[request.seqno] += 1
                self.running[request.seqno] = way
            elif treatment is Treatment.WAIT:
                if self.running[request.seqno] is not self.main:  # as ServedSession decides
                    self.running[request.seqno] = way
            elif treatment is Treatment.RESEND:
                self._reply(way, Reply.FromString(self.server.kept(request.seqno)))
            elif not way.is_lost:
                # Of a connection that the client has given up a repeat may come late: nobody waits for this there.
                self._reply(way, Reply(seqno=request.seqno, error=pb.Rerror(code=1)))

    def finish(self) -> None:
        if self.running:
            seqno = self.dice.choice(list(self.running))
            way = self.running.pop(seqno)
            reply = Reply(seqno=seqno, read=pb.Rread(data=str(seqno).encode()))
            self.server.replied(seqno, reply.SerializeToString())
            self._reply(way, reply)

    def _reply(self, way: Way, reply: Reply) -> None:
        if not way.is_lost:
            way.to_client.append(reply)

    # -- ends

    def settle(self) -> None:
        """From now on nothing breaks."""
        self.greet()
        for _ in range(12 * len(self.seqnos) + 40):
            if not self.client.outstanding_count:
                return
            for step in (self.send, self.deliver, self.finish, self.hear):
                step()

    def goodbye(self) -> dict[int, serr.SigmaError]:
        """The server stops in order: what runs is answered, what still comes is left unseen. How each request fails
        that has no reply."""
        while self.running:
            self.finish()
        all_answered = not self.may_lack_replies
        # Each connection brings its replies, and then the goodbye, unless it is lost.
        for way in self.beside:
            while way.to_client:
                self.hear()
        if self.main.is_lost:
            return self.client.end(serr.Unreachable("server", "nobody there"))
        while self.main.to_client:
            self.hear()
        return self.client.end(serr.Unreachable("server", "shut down"), none_ran=all_answered)


STEPS = (
    "ask",
    "ask_beside",
    "ask_beside",
    "send",
    "send",
    "deliver",
    "deliver",
    "finish",
    "finish",
    "hear",
    "hear",
    "lose_beside",
    "lose_main",
    "greet",
    "notice",
)
steps_of_a_world = st.lists(st.sampled_from(STEPS), max_size=120)


def taken(seed: int, steps: list[str]) -> World:
    world = World(seed)
    for step in steps:
        getattr(world, step)()
    return world


@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 1 << 30), steps=steps_of_a_world)
def test_nothing_runs_twice_and_everything_is_answered(seed: int, steps: list[str]) -> None:
    world = taken(seed, steps)
    world.settle()
    assert all(count == 1 for count in world.ran.values())
    assert world.answers == {seqno: seqno for seqno in world.seqnos}
    assert world.client.outstanding_count == 0


@settings(max_examples=1000, deadline=None)
@given(seed=st.integers(0, 1 << 30), steps=steps_of_a_world)
def test_a_goodbye_tells_the_truth(seed: int, steps: list[str]) -> None:
    world = taken(seed, steps)
    failures = world.goodbye()
    assert failures.keys() | world.answers.keys() == set(world.seqnos)
    for seqno, error in failures.items():
        assert isinstance(error, serr.IOErr) or not world.ran[seqno], f"{seqno} ran, and its caller may repeat it"
    with pytest.raises(serr.Unreachable):
        world.client.request_aside(Request())


def test_a_request_that_was_beside_has_an_unknown_outcome() -> None:
    """The server may not know yet that the connection beside is lost, and its reply with it."""
    client = ClientState(1)
    client.welcomed(WELCOME)
    seqno = client.request_aside(Request(read=pb.Tread()))
    assert client.take_back(seqno)
    assert client.take(1 << 20) is not None
    failures = client.end(serr.Unreachable("server", "shut down"), none_ran=True)
    assert type(failures[seqno]) is serr.IOErr


def test_a_hello_spares_the_replies_of_what_came_after_it() -> None:
    server = ServerState[bytes]()
    for seqno in (1, 2, 3):
        server.arrived(seqno)
        server.replied(seqno, b"reply")
    server.resumed([1], numbered_to=2)
    assert [server.arrived(seqno) for seqno in (1, 2, 3)] == [Treatment.RESEND, Treatment.REFUSE, Treatment.RESEND]
    server.resumed([], numbered_to=0)  # the client had given no number then
    assert [server.arrived(seqno) for seqno in (1, 2, 3)] == [Treatment.RESEND, Treatment.REFUSE, Treatment.RESEND]


def test_what_was_answered_beside_is_not_taken_back() -> None:
    client = ClientState(1)
    client.welcomed(WELCOME)
    seqno = client.request_aside(Request(read=pb.Tread()))
    client.answered_aside(seqno)
    assert not client.take_back(seqno)
    assert client.outstanding_count == 0
