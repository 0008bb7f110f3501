"""A session's main connection, from its client's side: what its kinds have in common."""

from __future__ import annotations

import abc
import os
from typing import TYPE_CHECKING, Final, Protocol

from sigmaos_ray import serr

if TYPE_CHECKING:
    from sigmaos_ray.pb.sessp_pb2 import Frames
    from sigmaos_ray.sessp.payload import Outgoing

KIND_VARIABLE: Final = "SIGMAOS_TRANSPORT"
GRPC: Final = "grpc"
PLAIN: Final = "plain"


def forced_kind() -> str:
    """What ``SIGMAOS_TRANSPORT`` says: grpc, plain, or empty for the best. Inval for anything else."""
    kind = os.environ.get(KIND_VARIABLE, "")
    if kind not in ("", GRPC, PLAIN):
        raise serr.Inval(kind, f"{KIND_VARIABLE} is {GRPC} or {PLAIN}")
    return kind


class LinkLost(Exception):
    """The connection ended; ``final`` if there is no use in resuming; ``none_ran`` if the server said that no request
    on it without a reply ran; ``refusal``: what the server said of the client, if it does not let that one in."""

    def __init__(
        self, why: str, *, final: bool = False, none_ran: bool = False, refusal: serr.Perm | None = None
    ) -> None:
        super().__init__(why)
        self.why = why
        self.final = final
        self.none_ran = none_ran
        self.refusal = refusal


class LinkUser(Protocol):
    """The session, as its main connection sees it."""

    is_closing: bool
    """What is queued is the last: the goodbye follows."""

    def take(self) -> Outgoing | None:
        """The next message to send; None if there is none now."""

    def received(self, frames: Frames, payload: bytes | None = None) -> None:
        """A message came, and the payload behind it. Raises LinkLost if it is the server's last, or none at all."""


class Link(abc.ABC):
    """One main connection. Its session opens it, greets, runs it, and closes it whatever became of it."""

    kind: str
    """As it is told to people."""

    @abc.abstractmethod
    async def greet(self, hello: Frames) -> Frames:
        """Says hello, and blocks for the server's first message. LinkLost."""

    @abc.abstractmethod
    async def run(self, user: LinkUser) -> None:
        """Brings messages both ways. Returns after the goodbye, once the server has read it; LinkLost otherwise."""

    @abc.abstractmethod
    def wake(self, *, now: bool = False) -> None:
        """There is something to send. ``now``: nothing is to be waited for that could share the message."""

    @abc.abstractmethod
    async def close(self, *, keep: bool) -> None:
        """Ends it. ``keep``: its session ended in order; it may serve another one. May be repeated."""
