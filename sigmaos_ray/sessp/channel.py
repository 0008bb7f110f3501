"""gRPC channels and servers with the options that sessions ask for. Channels are cached: one per loop and address."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray import serr
from sigmaos_ray.sessp.plainlink import close_kept

if TYPE_CHECKING:
    import grpc

    from sigmaos_ray.config import Config

_Options = list[tuple[str, int]]

# gRPC itself takes much more for an address, "unix:" and "dns:" among it.
_ADDRESS: Final = re.compile(r"([\w.-]{1,253}|\[[0-9a-fA-F:.]{2,45}(%\w{1,32})?\]):[0-9]{1,5}", re.ASCII)
_PORT_MAX: Final = 65_535
_SHOWN_CHARS: Final = 100


def _keepalive(config: Config) -> _Options:
    """Liveness is the stream's: pings from both ends, also on a stream that is idle."""
    session = config.session
    return [
        ("grpc.keepalive_time_ms", int(session.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", int(session.keepalive_timeout_s * 1000)),
        # The same under the name that counts: newer gRPC gives each ping a time-out of its own, a minute by default.
        ("grpc.http2.ping_timeout_ms", int(session.keepalive_timeout_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Both ends ping, and by default gRPC closes a connection on which pings come often or without data.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_receive_message_length", config.wire.message_bytes_max),
        ("grpc.max_send_message_length", config.wire.message_bytes_max),
    ]


def server_options(config: Config) -> _Options:
    """What a gRPC server of sessions is made with."""
    # so_reuseport is off: two servers on one port would each get some of a client's streams.
    return [*_keepalive(config), ("grpc.so_reuseport", 0)]


def client_options(config: Config) -> _Options:
    """What a channel for sessions is made with. Sessions resume by themselves, so gRPC repeats nothing."""
    return [
        *_keepalive(config),
        # By default the pauses begin at a second and grow to two minutes; a resume has about one second in all.
        ("grpc.initial_reconnect_backoff_ms", 50),
        # Not a pause, whatever its name: how long an attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", int(config.session.connect_timeout_s * 1000)),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.enable_retries", 0),
    ]


FORKED: Final = "forked from a process that used it already: start processes with spawn or forkserver, or fork earlier"
_used_in: int | None = None
"""The process that uses gRPC."""


def is_forked() -> bool:
    """True in a child of a process that used gRPC before the fork. gRPC does not survive that: calls would hang."""
    return _used_in is not None and _used_in != os.getpid()


class _Channels:
    """The channels of one loop. A channel costs a few milliseconds to open, so they stay until the loop ends, unless
    what used one failed."""

    def __init__(self) -> None:
        self.by_address: dict[str, grpc.aio.Channel] = {}
        self.users: Counter[str] = Counter()


# A channel of grpc.aio is of use only on the loop that it was made on, and a process may have several loops.
_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Channels] = weakref.WeakKeyDictionary()


def check_address(address: str) -> None:
    """Inval for what is no ``host:port``, though gRPC might take it for an address, such as a socket of this host:
    endpoint files hold what others wrote."""
    if not _ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > _PORT_MAX:
        raise serr.Inval(address[:_SHOWN_CHARS], "a server's address is host:port")


def channel_to(address: str, config: Config) -> grpc.aio.Channel:
    """The running loop's channel to ``host:port``, made if need be; nothing is dialled yet. Owned by the cache;
    ``close_channels`` ends it. Inval for anything else."""
    check_address(address)
    channels = _by_loop.setdefault(asyncio.get_running_loop(), _Channels()).by_address
    channel = channels.get(address)
    if channel is None:
        import grpc  # here alone: most clients have plain connections, and a proc would wait for the import

        options: list[tuple[str, Any]] = list(client_options(config))
        channel = channels[address] = grpc.aio.insecure_channel(address, options=options)
    return channel


async def close_channels() -> None:
    """Closes all channels of the running loop, and the plain connections that no session uses. Call it before the loop
    ends."""
    await close_kept()
    channels = _by_loop.pop(asyncio.get_running_loop(), None)
    if channels is not None:
        for channel in channels.by_address.values():
            await channel.close()


def hold_channel(address: str) -> None:
    """Says that the running loop's channel to an address is in use, until ``release_channel``. Made or not: uses are
    counted by address."""
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    _by_loop.setdefault(asyncio.get_running_loop(), _Channels()).users[address] += 1


async def release_channel(address: str, *, failed: bool) -> None:
    """Ends one use. After a failure the last one that ends closes the channel: a dead server leaves nothing, and who
    gets its port next is not bothered with our pings."""
    channels = _by_loop.get(asyncio.get_running_loop())
    if channels is None:
        return
    channels.users[address] -= 1
    if channels.users[address] <= 0:
        del channels.users[address]
        channel = channels.by_address.pop(address, None) if failed else None
        if channel is not None:
            await channel.close()
