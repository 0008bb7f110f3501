"""gRPC channels and servers with the options that sessions ask for. Channels are cached: one per loop and way."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sigmaos_ray import serr
from sigmaos_ray.sessp.plainlink import close_kept
from sigmaos_ray.tls.files import PEER_NAME

if TYPE_CHECKING:
    import grpc

    from sigmaos_ray.config import Config
    from sigmaos_ray.tls.identity import TlsIdentity

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
    handshake_ms = int(config.session.hello_timeout_s * 1000)
    return [*_keepalive(config), ("grpc.so_reuseport", 0), ("grpc.server_handshake_timeout_ms", handshake_ms)]


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
    """True in a child of a process that used gRPC before the fork. gRPC does not survive that: calls would hang. Plain
    connections do not care."""
    return _used_in is not None and _used_in != os.getpid()


class Way(NamedTuple):
    """What a channel leads to, and as whom."""

    address: str
    tls: TlsIdentity | None = None
    stamp: tuple[int, ...] = ()
    """Of the certificate that it shows: a channel keeps that for good."""


class _Channels:
    """The channels of one loop. A channel costs a few milliseconds to open, so they stay until the loop ends, unless
    what used one failed."""

    def __init__(self) -> None:
        self.by_way: dict[Way, grpc.aio.Channel] = {}
        self.users: Counter[Way] = Counter()


# A channel of grpc.aio is of use only on the loop that it was made on, and a process may have several loops.
_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Channels] = weakref.WeakKeyDictionary()


def check_address(address: str) -> None:
    """Inval for what is no ``host:port``, though gRPC might take it for an address, such as a socket of this host:
    endpoint files hold what others wrote."""
    if not _ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > _PORT_MAX:
        raise serr.Inval(address[:_SHOWN_CHARS], "a server's address is host:port")


def way_to(address: str, tls: TlsIdentity | None = None) -> Way:
    """As it is at this moment. Inval for what is no ``host:port``."""
    check_address(address)
    return Way(address) if tls is None else Way(address, tls, tls.stamp())


def channel_on(way: Way, config: Config) -> grpc.aio.Channel:
    """The running loop's channel, made if need be; nothing is dialled yet. Owned by the cache; ``close_channels`` ends
    it. Perm without the certificate that it needs."""
    channels = _by_loop.setdefault(asyncio.get_running_loop(), _Channels()).by_way
    channel = channels.get(way)
    if channel is None:
        import grpc  # here alone: most clients have plain connections, and a proc would wait for the import

        options: list[tuple[str, Any]] = list(client_options(config))
        if way.tls is None:
            channel = grpc.aio.insecure_channel(way.address, options=options)
        else:
            options.append(("grpc.ssl_target_name_override", PEER_NAME))
            channel = grpc.aio.secure_channel(way.address, way.tls.channel_credentials(), options=options)
        channels[way] = channel
    return channel


async def close_channels() -> None:
    """Closes all channels of the running loop, and the plain connections that no session uses. Call it before the loop
    ends."""
    await close_kept()
    channels = _by_loop.pop(asyncio.get_running_loop(), None)
    if channels is not None:
        for channel in channels.by_way.values():
            await channel.close()


def hold_channel(way: Way) -> None:
    """Says that the running loop's channel is in use, until ``release_channel``, be it made or not."""
    global _used_in
    if _used_in is None:
        _used_in = os.getpid()
    _by_loop.setdefault(asyncio.get_running_loop(), _Channels()).users[way] += 1


async def release_channel(way: Way, *, failed: bool) -> None:
    """Ends one use. The last one that ends closes the channel after a failure: a dead server leaves nothing, and who
    gets its port next is not bothered with our pings; or if it has a certificate that was renewed."""
    channels = _by_loop.get(asyncio.get_running_loop())
    if channels is None:
        return
    channels.users[way] -= 1
    if channels.users[way] <= 0:
        del channels.users[way]
        is_old = way.tls is not None and way.stamp != way.tls.stamp()
        channel = channels.by_way.pop(way, None) if failed or is_old else None
        if channel is not None:
            await channel.close()
