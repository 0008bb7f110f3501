"""What handlers of RPCs are written with: ``RpcContext``, ``Caller`` and ``immediate``. ``SigmaSrv`` serves them.

A service is any object; each public method ``method(self, ctx: RpcContext, request: SomeMessage) -> SomeMessage`` is
offered to clients as ``Class.method``, names with an underscore in front are not. Requests and replies are protobuf
messages; the request's class is read from the annotation when the server is made, so it is imported at run time.

Coroutines run on the server's loop; plain functions run in a thread each, of which there are
``config.Rpc.handler_threads_max``, and may block. Calls of one client, too, run side by side. An error of ``serr``
reaches the caller as its class; any other becomes ``serr.Error`` with its class and text, and is logged. Past
the caller's time a coroutine is cancelled; a thread cannot be, so it runs on and its reply is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf.message import Message

from sigmaos_ray.auth.tokens import Claims
from sigmaos_ray.sigmap import Secret

H = TypeVar("H", bound=Callable[..., Message | Awaitable[Message]])

_IMMEDIATE: Final = "_rpc_is_immediate"


class Caller(msgspec.Struct, frozen=True):
    """Who asks: as the attach said, kept with the session."""

    session_id: int = 0
    client_id: int = 0
    """Tells the clients apart that share a session: each attaches under a number of its own."""
    realm: str = ""
    principal: str = ""
    token: str = ""
    """As it attached; empty at a server that checked it, for it is not for others to use."""
    secrets: tuple[Secret, ...] = ()
    claims: Claims | None = None
    """What its credentials state; None at a server that lets in whoever comes."""

    def secret(self, service: str) -> Secret | None:
        """What the caller shows to a service, as to S3; None if nothing."""
        return next((secret for secret in self.secrets if secret.service == service), None)


class RpcContext(msgspec.Struct, frozen=True):
    """Who calls, and how long the caller waits. Handed to every handler as ``ctx``."""

    caller: Caller
    timeout_s: float | None = None
    """How long the caller waits, as of the call's arrival; None: for ever."""
    ends_s: float | None = None
    """The same, as a moment of ``time.monotonic``."""

    def remaining_s(self) -> float | None:
        """What is left of the caller's time, for calls that the handler makes itself; None: it waits for ever."""
        return None if self.ends_s is None else max(self.ends_s - time.monotonic(), 0.0)


def immediate(handler: H) -> H:
    """Marks a handler that answers from memory, in microseconds, and is no coroutine: it is called on the server's
    loop, without a thread or a task, and while it runs everything else waits. Should the reply have to wait after all,
    it returns what is to be awaited for it."""
    setattr(handler, _IMMEDIATE, True)
    return handler


def is_immediate(handler: Callable[..., Any]) -> bool:
    """Whether a handler is marked ``immediate``."""
    return bool(getattr(handler, _IMMEDIATE, False))
