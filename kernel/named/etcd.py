"""etcd as named uses it: transactions whose fate is known or said to be unknown, leases, watches that resume.

With ``secure.py`` the only module that imports aetcd; its errors, and gRPC's, become serr errors here.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from aetcd import Client, rpc
from aetcd import exceptions as aetcd_errors

from kernel.named.secure import ChannelClient, local_channel, secure_channel
from kernel.named.unary import ConnectionLost, UnaryConnection, connect
from sigmaos_ray import config, debug, serr
from sigmaos_ray.deadlines import is_cancelled
from sigmaos_ray.tls.files import ETCD_SOCKET
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from kernel.named.headers import CallStatus

_log = debug.selector("NAMED_STORE")

_PAGE_KEYS_MAX: Final = 2000
_PAGE_BYTES: Final = 8 << 20
"""A page of a scan has about so many bytes: contents go up to 1 MiB each, and gRPC takes 64 MiB in one message."""
_FIRST_PAGE_KEYS: Final = 32
_SOCKET_BYTES_MAX: Final = 107
"""Of a socket's pathname."""
_HAS_LEADER: Final = (("hasleader", "true"),)
"""Asks a member of a cluster to end a watch when it is cut off from the others, instead of staying silent."""
_DELETE: Final = rpc.Event.EventType.DELETE
_OPTIONS: Final = {
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.initial_reconnect_backoff_ms": 50,
    # Not only a pause: how long a connection may take to open. A busy machine's takes more than a moment.
    "grpc.min_reconnect_backoff_ms": 2_000,
    "grpc.max_reconnect_backoff_ms": 500,
}

_TXN: Final = "/etcdserverpb.KV/Txn"

_FULL: Final = "database space exceeded"
_CODES: Final = {code.value[0]: code for code in rpc.StatusCode}
_REFUSALS: Final = (
    rpc.StatusCode.INVALID_ARGUMENT,
    rpc.StatusCode.FAILED_PRECONDITION,
    rpc.StatusCode.OUT_OF_RANGE,
    rpc.StatusCode.RESOURCE_EXHAUSTED,
)
"""etcd did not run the transaction, and says why."""


_AWAY: Final = (rpc.StatusCode.UNAVAILABLE, rpc.StatusCode.DEADLINE_EXCEEDED, rpc.StatusCode.UNKNOWN)
"""It did not come to it. The last is what a member says that waited for the others for too long."""


class UnknownOutcome(Exception):
    """A transaction was sent, and nothing says whether it took effect."""


class Full(serr.Error):
    """etcd has no room. It says so also of the transaction that filled it, which took effect; of no later one."""


Outcome: TypeAlias = "tuple[bool, int] | serr.SigmaError | UnknownOutcome"
"""Of a transaction: whether it took effect, and its revision; or an error."""


class Compacted(Exception):
    """A watch asked for revisions that etcd no longer has."""


class TooLarge(Exception):
    """An answer has more bytes than we take in one message."""


class KeyValue:
    """One key as etcd has it."""

    __slots__ = ("create_revision", "key", "lease", "mod_revision", "value")

    def __init__(self, kv: Any) -> None:
        self.key: bytes = kv.key
        self.value: bytes = kv.value
        self.lease: int = kv.lease
        self.create_revision: int = kv.create_revision
        self.mod_revision: int = kv.mod_revision


class Change(NamedTuple):
    """A key that was put or, with None for a value, deleted."""

    key: bytes
    value: bytes | None
    revision: int


class EtcdMember(NamedTuple):
    """One member of the cluster, as it has it."""

    id: int
    name: str
    """Empty before it came up for the first time."""
    peer_urls: list[str]
    client_urls: list[str]
    learns: bool


class Etcd:
    """Connections to one or several endpoints (``host:port``); the next one is used when one fails. ``close`` it.

    A connection stays open after it failed: other calls may be under way on it, and end by themselves. Watches go on
    where calls are made: a host that fell silent is noticed by calls alone, within their time.
    """

    def __init__(self, endpoints: Sequence[str], timeout_s: float, near: str = "", tls: str = "") -> None:
        """``near``: the host whose endpoint comes first, if it has one. The caller's own: that goes when he goes.
        ``tls``: where this host's certificate is, if etcd asks for one."""
        if not endpoints:
            raise serr.Inval("etcd", "no endpoint")
        self._near = near
        self._tls = identity_at(tls)
        self._stamps: dict[str, tuple[int, ...]] = {}
        """Of the certificates that connections show, by endpoint."""
        self._former: list[Client] = []
        """Connections with a certificate that was renewed, on which calls may be under way."""
        self._endpoints: list[str] = []
        self._timeout_s = timeout_s
        self._clients: dict[str, Client] = {}
        self._for_transactions: dict[str, UnaryConnection] = {}
        self._watches: dict[Any, str] = {}
        """Streams, and where each is."""
        self.use(endpoints)
        self._connecting = asyncio.Lock()
        self._closed = False
        self._is_cut = False

    async def _connected(self) -> tuple[Client, str]:
        endpoint = self._endpoints[0]
        if self._is_cut:
            await self._wait_for_nothing(endpoint)
        if endpoint not in self._clients or self._is_renewed(endpoint):
            await self._connect_once(endpoint)
        return self._clients[endpoint], endpoint

    async def _wait_for_nothing(self, endpoint: str) -> None:
        """As a network that drops everything does: no answer until the time is up, instead of an error at once."""
        await asyncio.sleep(self._timeout_s)
        raise serr.Unreachable(f"etcd {endpoint}", "cut off")

    async def _connect_once(self, endpoint: str) -> None:
        async with self._connecting:
            if self._closed:
                raise serr.Closed("etcd", "the connection was closed")
            if self._is_renewed(endpoint):
                self._former.append(self._clients.pop(endpoint))
            if endpoint not in self._clients:
                self._clients[endpoint] = await self._new_client(endpoint)

    def _is_renewed(self, endpoint: str) -> bool:
        return self._tls is not None and endpoint in self._clients and self._stamps[endpoint] != self._tls.stamp()

    async def _new_client(self, endpoint: str) -> Client:
        host, _, port = endpoint.rpartition(":")
        if self._tls is None:
            client = Client(host, int(port), options=dict(_OPTIONS))
        elif path := self._local_socket(endpoint):
            client = ChannelClient(local_channel(path, _OPTIONS))
        else:
            client = ChannelClient(secure_channel(endpoint, self._tls, _OPTIONS))
        if self._tls is not None:
            self._stamps[endpoint] = self._tls.stamp()
        await client.connect()
        return client

    def _local_socket(self, endpoint: str) -> str:
        """That of the caller's own host, which needs no TLS; empty: there is none."""
        if self._tls is None or endpoint.rpartition(":")[0] != self._near:
            return ""
        path = os.path.join(self._tls.place, ETCD_SOCKET)
        return path if len(os.fsencode(path)) <= _SOCKET_BYTES_MAX and os.path.exists(path) else ""

    async def _connected_for_transactions(self, endpoint: str) -> UnaryConnection:
        """OSError if there is nobody."""
        if self._closed or self._is_cut:
            raise ConnectionLost("closed")
        connection = self._for_transactions.get(endpoint)
        if connection is not None and connection.is_usable:
            return connection
        host, _, port = endpoint.rpartition(":")
        pong_s, path = config.current().named.etcd_pong_s, self._local_socket(endpoint)
        made = await connect(host, int(port), self._timeout_s, pong_s, self._tls, path)
        connection = self._for_transactions.get(endpoint)
        if self._closed or self._is_cut or (connection is not None and connection.is_usable):
            await made.close()  # the state of things changed while this one connected
            return await self._connected_for_transactions(endpoint)
        self._for_transactions[endpoint] = made
        return made

    def _failed(self, endpoint: str) -> None:
        """The next call goes to the next endpoint, unless another call has found that out already."""
        if self._endpoints[0] == endpoint:
            self._endpoints.append(self._endpoints.pop(0))
            self._move_watches()

    def _move_watches(self) -> None:
        """Those that are elsewhere than where calls are made go on there."""
        for stream, endpoint in self._watches.items():
            if endpoint != self._endpoints[0]:
                stream.cancel()

    @property
    def is_several(self) -> bool:
        """Whether there are others to go to when one fails."""
        return len(self._endpoints) > 1

    async def cut(self) -> None:
        """Injects a fault: what is under way breaks, and nothing arrives from now on."""
        self._is_cut = True
        await self._close_all()

    async def close(self) -> None:
        """Ends what is under way. May be repeated."""
        self._closed = True
        await self._close_all()

    async def _close_all(self) -> None:
        while self._for_transactions:
            await self._for_transactions.popitem()[1].close()
        former, self._former = self._former, []
        for client in former:
            await client.close()
        while self._clients:
            await self._clients.popitem()[1].close()

    async def _call(self, what: str, stub: str, method: str, request: Any) -> Any:
        client, endpoint = await self._connected()
        try:
            return await getattr(getattr(client, stub), method)(request, timeout=self._timeout_s)
        except rpc.AioRpcError as error:
            # Also if etcd may have done it: what goes this way does no harm twice, as a lease too many runs out.
            if error.code() in _AWAY:
                self._failed(endpoint)
                raise serr.Unreachable(f"etcd {endpoint}", f"{what}: {error.details()}") from error
            if error.code() is rpc.StatusCode.NOT_FOUND:
                raise serr.NotFound(what, error.details()) from error
            if error.code() is rpc.StatusCode.INVALID_ARGUMENT:
                raise serr.Inval(what, f"etcd: {error.details()}") from error
            if error.code() is rpc.StatusCode.OUT_OF_RANGE:
                raise Compacted from error
            if error.code() is rpc.StatusCode.RESOURCE_EXHAUSTED and not _is_full(error.code(), error.details()):
                raise TooLarge(error.details()) from error
            raise serr.Error(what, f"etcd: {error.details()}") from error

    async def transaction(self, compare: list[Any], then: list[Any]) -> tuple[bool, int]:
        """Whether it took effect, and its revision. UnknownOutcome if that cannot be told; NotFound if a lease in it
        is gone, Inval if etcd refuses it, Full if it has no space left."""
        endpoint = self._endpoints[0]
        if self._is_cut:
            await self._wait_for_nothing(endpoint)
        request = _transaction_request(compare, then)
        try:
            connection = await self._connected_for_transactions(endpoint)
            status, reply = await connection.call(_TXN, request)
        except (OSError, ConnectionLost) as error:
            raise self._unknown(endpoint, str(error)) from error
        return self._transaction_outcome(endpoint, status, reply)

    def begin_transaction(self, compare: list[Any], then: list[Any], on_end: Callable[[Outcome], object]) -> bool:
        """Sends a transaction if there is a connection for it; False: nothing was sent, and ``transaction`` may do it.
        ``on_end`` gets what that would return or raise, as it comes, without a turn of the loop."""
        endpoint = self._endpoints[0]
        connection = self._for_transactions.get(endpoint)
        if connection is None or not connection.is_usable:
            return False

        def ended(status: CallStatus | ConnectionLost, reply: bytes) -> None:
            if isinstance(status, ConnectionLost):
                on_end(self._unknown(endpoint, str(status)))
                return
            try:
                outcome: Outcome = self._transaction_outcome(endpoint, status, reply)
            except (serr.SigmaError, UnknownOutcome) as error:
                outcome = error
            on_end(outcome)

        connection.begin(_TXN, _transaction_request(compare, then), ended)
        return True

    def _unknown(self, endpoint: str, why: str) -> UnknownOutcome:
        """Such a failure, of a transaction that went there."""
        _log(f"transaction: {why}")
        self._failed(endpoint)
        return UnknownOutcome(why)

    def _transaction_outcome(self, endpoint: str, status: CallStatus, message: bytes) -> tuple[bool, int]:
        if not status.code:
            reply = rpc.TxnResponse.FromString(message)
            return reply.succeeded, reply.header.revision
        code = _CODES.get(status.code, rpc.StatusCode.UNKNOWN)
        # etcd looks for the leases before it applies anything: none of the transaction took effect.
        if code is rpc.StatusCode.NOT_FOUND:
            raise serr.NotFound("lease", status.details)
        if _is_full(code, status.details):
            raise Full("etcd", status.details)
        if code in _REFUSALS:
            raise serr.Inval("etcd", status.details)
        # Anything else may have come after etcd applied it.
        raise self._unknown(endpoint, f"{code.name} {status.details}")

    async def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        """What stands there now, or stood there at a revision; Compacted if etcd no longer knows that one."""
        reply = await self._call("get", "kvstub", "Range", rpc.RangeRequest(key=key, revision=revision))
        return KeyValue(reply.kvs[0]) if reply.kvs else None

    async def oldest(self, prefix: bytes) -> KeyValue | None:
        """The key below a prefix that was made first."""
        request = rpc.RangeRequest(
            key=prefix,
            range_end=prefix_end(prefix),
            limit=1,
            sort_order=rpc.RangeRequest.SortOrder.ASCEND,
            sort_target=rpc.RangeRequest.SortTarget.CREATE,
        )
        reply = await self._call("get", "kvstub", "Range", request)
        return KeyValue(reply.kvs[0]) if reply.kvs else None

    async def scan(self, prefix: bytes, revision: int = 0) -> AsyncIterator[KeyValue]:
        """All keys below a prefix as they were at one revision (0: the present one), page by page."""
        start, end, limit = prefix, prefix_end(prefix), _FIRST_PAGE_KEYS
        while True:
            request = rpc.RangeRequest(key=start, range_end=end, limit=limit, revision=revision)
            try:
                reply = await self._call("scan", "kvstub", "Range", request)
            except TooLarge as error:
                if limit == 1:
                    raise serr.Error("etcd", str(error)) from error
                limit = max(1, limit // 8)
                continue
            # The first page's revision is the later ones' too: together they show one moment.
            revision = revision or reply.header.revision
            for kv in reply.kvs:
                yield KeyValue(kv)
            if not reply.more:
                return
            start = reply.kvs[-1].key + b"\0"
            limit = next_page(limit, reply.ByteSize())

    async def revision(self) -> int:
        reply = await self._call("status", "kvstub", "Range", rpc.RangeRequest(key=b"\0"))
        revision: int = reply.header.revision
        return revision

    async def version(self) -> str:
        reply = await self._call("status", "maintenancestub", "Status", rpc.StatusRequest())
        version: str = reply.version
        return version

    # -- its members

    async def members(self) -> tuple[int, list[EtcdMember]]:
        """Which cluster it is, and its members."""
        reply = await self._call("members", "clusterstub", "MemberList", rpc.MemberListRequest())
        return reply.header.cluster_id, [
            EtcdMember(member.ID, member.name, list(member.peerURLs), list(member.clientURLs), member.isLearner)
            for member in reply.members
        ]

    async def add_learner(self, peer_url: str) -> int:
        """A member more, which has no vote before it is promoted; its number. Error if it cannot be had now."""
        request = rpc.MemberAddRequest(peerURLs=[peer_url], isLearner=True)
        reply = await self._call("add a member", "clusterstub", "MemberAdd", request)
        return int(reply.member.ID)

    async def promote(self, member_id: int) -> None:
        """Gives one its vote. Error while it does not know all yet."""
        await self._call("promote a member", "clusterstub", "MemberPromote", rpc.MemberPromoteRequest(ID=member_id))

    async def remove_member(self, member_id: int) -> None:
        """Error if too few are up to decide it, or would be without it."""
        await self._call("remove a member", "clusterstub", "MemberRemove", rpc.MemberRemoveRequest(ID=member_id))

    async def move_member(self, member_id: int, peer_url: str) -> None:
        """From now on the others reach it there."""
        request = rpc.MemberUpdateRequest(ID=member_id, peerURLs=[peer_url])
        await self._call("move a member", "clusterstub", "MemberUpdate", request)

    async def leader(self) -> int:
        """The number of the member that leads the others; 0 while none does."""
        reply = await self._call("status", "maintenancestub", "Status", rpc.StatusRequest())
        return int(reply.leader)

    async def move_leader(self, target_id: int) -> None:
        """Asked of the member that leads: from now on that one does. Error if this one does not lead."""
        await self._call("move the lead", "maintenancestub", "MoveLeader", rpc.MoveLeaderRequest(targetID=target_id))

    def use(self, endpoints: Sequence[str]) -> None:
        """The cluster has these endpoints now. Those that are in use stay first, in their order, but behind one of the
        near host that is new."""
        there = [_bare(endpoint) for endpoint in endpoints]
        self._endpoints = sorted(there, key=self._place_of) or self._endpoints
        self._move_watches()

    def _place_of(self, endpoint: str) -> int:
        if endpoint in self._endpoints:
            return self._endpoints.index(endpoint)
        return -1 if endpoint.rpartition(":")[0] == self._near else len(self._endpoints)

    async def snapshot(self) -> AsyncIterator[bytes]:
        """All that it holds at one moment, in pieces of the file that ``etcdutl snapshot restore`` takes. Unreachable
        if it ends too early."""
        client, endpoint = await self._connected()
        try:
            async for reply in rpc.MaintenanceStub(client.channel).Snapshot(rpc.SnapshotRequest()):
                yield reply.blob
        except rpc.AioRpcError as error:
            raise serr.Unreachable(f"etcd {endpoint}", f"snapshot: {error.details()}") from error

    async def grant(self, ttl_s: int) -> tuple[int, int]:
        """A lease, and the time that etcd grants (it has a minimum)."""
        reply = await self._call("lease", "leasestub", "LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl_s))
        return reply.ID, reply.TTL

    async def extend(self, lease: int, timeout_s: float | None = None) -> int:
        """The seconds that the lease lives on. NotFound if it is gone."""
        client, endpoint = await self._connected()
        try:
            requests = iter([rpc.LeaseKeepAliveRequest(ID=lease)])
            async for reply in client.leasestub.LeaseKeepAlive(requests, timeout=timeout_s or self._timeout_s):
                # etcd refuses no keep-alive: of a lease that it does not know it says that no time is left.
                if reply.TTL <= 0:
                    raise serr.NotFound(f"lease {lease:x}", "expired")
                return int(reply.TTL)
        except (rpc.AioRpcError, aetcd_errors.ClientError) as error:
            self._failed(endpoint)
            raise serr.Unreachable(f"etcd {endpoint}", f"keep-alive: {error}") from error
        raise serr.Unreachable("etcd", "keep-alive: no answer")

    async def extend_all(self, leases: Collection[int]) -> None:
        """Extends those that live. Unreachable if etcd does not answer for all of them."""
        if not leases:
            return
        client, endpoint = await self._connected()
        requests = [rpc.LeaseKeepAliveRequest(ID=lease) for lease in leases]
        try:
            answered = 0
            async for _ in client.leasestub.LeaseKeepAlive(iter(requests), timeout=self._timeout_s):
                if (answered := answered + 1) == len(requests):
                    return
        except (rpc.AioRpcError, aetcd_errors.ClientError) as error:
            self._failed(endpoint)
            raise serr.Unreachable(f"etcd {endpoint}", f"keep-alive: {error}") from error
        # Ended in good order, as by an etcd that is stopped: the rest may not have been extended.
        raise serr.Unreachable(f"etcd {endpoint}", f"keep-alive: {answered} of {len(requests)} leases were answered")

    async def time_to_live(self, lease: int) -> tuple[int, int]:
        """The whole seconds that a lease has left (negative: it is gone), and had when it was granted."""
        reply = await self._call("lease", "leasestub", "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease))
        return reply.TTL, reply.grantedTTL

    async def lease_keys(self, lease: int) -> list[bytes]:
        """The keys that hang on a lease; none if it is gone."""
        request = rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)
        reply = await self._call("lease", "leasestub", "LeaseTimeToLive", request)
        return list(reply.keys)

    async def revoke(self, lease: int) -> int:
        """Deletes the lease and its keys; the revision at which they are gone. NotFound if it is gone already."""
        request = rpc.LeaseRevokeRequest(ID=lease)
        reply = await self._call(f"lease {lease:x}", "leasestub", "LeaseRevoke", request)
        return int(reply.header.revision)

    async def watch(
        self, prefix: bytes, after_revision: int, *, deletes_only: bool = False
    ) -> AsyncIterator[tuple[list[Change], int]]:
        """What changes below the prefix after a revision, in order, as it comes, and up to which revision that is all;
        goes on over lost connections, and may then tell twice what was beyond that revision.

        Compacted if etcd no longer knows what happened since."""
        seen = after_revision
        while True:
            client, endpoint = await self._connected()
            if endpoint != self._endpoints[0]:  # it failed while this one connected
                continue
            stream = rpc.WatchStub(client.channel).Watch(metadata=_HAS_LEADER)
            self._watches[stream] = endpoint
            try:
                async for changes, complete_to in _watch_once(stream, prefix, seen, deletes_only, self._timeout_s):
                    yield changes, complete_to
                    seen = complete_to
            except (rpc.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
                # The second is what grpc raises for a write to a stream that has broken already.
                _log(f"watch: {error}")
                self._failed(endpoint)
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                _log(f"watch: {endpoint} is left")
            finally:
                self._watches.pop(stream, None)
            # Also after an end without an error: a member that is cut off from the others cancels its watches.
            await asyncio.sleep(config.current().named.etcd_pause_s)

    async def watch_deletes(self, prefix: bytes, after_revision: int) -> AsyncIterator[tuple[bytes, int]]:
        """Keys below the prefix that are deleted after a revision, with the revision of each. Else as ``watch``."""
        async for changes, _ in self.watch(prefix, after_revision, deletes_only=True):
            for change in changes:
                yield change.key, change.revision

    async def wait_deleted(self, key: bytes, after_revision: int) -> None:
        """Returns once the key is gone."""
        async for _ in self.watch_deletes(key, after_revision):
            return


def _transaction_request(compare: list[Any], then: list[Any]) -> bytes:
    request: bytes = rpc.TxnRequest(compare=compare, success=then).SerializeToString()
    return request


def _bare(endpoint: str) -> str:
    return endpoint.removeprefix("http://").removeprefix("https://")


async def _watch_once(
    stream: Any, prefix: bytes, after_revision: int, deletes_only: bool, timeout_s: float
) -> AsyncIterator[tuple[list[Change], int]]:
    """Changes as the messages bring them, and up to which revision they are all. TimeoutError if the stream does not
    begin in time."""
    # In fragments: the changes of one revision may be more than gRPC takes in one message.
    create = rpc.WatchCreateRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        start_revision=after_revision + 1,
        filters=[rpc.WatchCreateRequest.FilterType.NOPUT] if deletes_only else [],
        fragment=True,
    )
    try:
        # Of a stream that is cancelled before it began, grpc's first write never ends.
        async with asyncio.timeout(timeout_s):
            await stream.write(rpc.WatchRequest(create_request=create))
        async for reply in stream:
            if reply.compact_revision:
                raise Compacted
            if reply.canceled:
                return
            changes = [
                Change(event.kv.key, None if event.type == _DELETE else event.kv.value, event.kv.mod_revision)
                for event in reply.events
            ]
            if changes:
                # Of a revision that is too large for one message, the next one brings more.
                yield changes, changes[-1].revision - bool(reply.fragment)
    finally:
        stream.cancel()


def _is_full(code: rpc.StatusCode, details: str | None) -> bool:
    """The alarm NOSPACE stands: etcd refuses whatever adds to its store. gRPC's own refusals have the same code."""
    return code is rpc.StatusCode.RESOURCE_EXHAUSTED and _FULL in (details or "")


def next_page(limit: int, page_bytes: int) -> int:
    """How many keys to ask for after a page of ``limit`` keys that had so many bytes: at most twice as many."""
    fitting = limit * _PAGE_BYTES // max(page_bytes, 1)
    return max(1, min(2 * limit, fitting, _PAGE_KEYS_MAX))


def prefix_end(prefix: bytes) -> bytes:
    """The first key that does not have the prefix."""
    # No prefix of ours ends in the byte 0xff, which would carry over to the one before.
    return prefix[:-1] + bytes([prefix[-1] + 1])


def is_created_at(key: bytes, revision: int) -> Any:
    """The comparison: the key exists since that revision."""
    return rpc.Compare(
        key=key,
        target=rpc.Compare.CompareTarget.CREATE,
        result=rpc.Compare.CompareResult.EQUAL,
        create_revision=revision,
    )


def put(key: bytes, value: bytes, lease: int = 0) -> Any:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, lease=lease))


def delete(key: bytes) -> Any:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key))


def delete_below(prefix: bytes) -> Any:
    """Every key that begins so."""
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=prefix, range_end=prefix_end(prefix)))


def is_modified_at(key: bytes, revision: int) -> Any:
    """The comparison: the key was last changed at that revision; 0: it does not exist."""
    return rpc.Compare(
        key=key,
        target=rpc.Compare.CompareTarget.MOD,
        result=rpc.Compare.CompareResult.EQUAL,
        mod_revision=revision,
    )
