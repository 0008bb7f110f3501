"""The blocking clerk. The usual case goes out from the calling thread, without a loop between; all else,
``AsyncKvClerk`` does.

So its calls are more than ``run`` of the asynchronous ones: each tries the short way first. A write keeps its number on
both ways, so that it takes effect once though the first try may have got through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcclnt import BlockingCalls, call_each
from user.kv import kv_pb2 as pb
from user.kv.clnt import AsyncKvClerk, K, by_given, check_outcomes, write_of
from user.kv.keys import Key, shard_of, text_of
from user.kv.tuning import CLERK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmaos_ray import SigmaClnt

R = TypeVar("R", bound=Message)

_log = debug.selector("KVCLERK")

_SETTLED: Final = frozenset({pb.DONE, pb.ABSENT, pb.REFUSED, pb.TOO_LARGE})
"""Outcomes of writes that are a server's last word."""


class KvClerk:
    """The blocking face of ``AsyncKvClerk``; may be shared by threads. A context manager."""

    def __init__(self, sc: SigmaClnt, job: str, timeout_s: float = CLERK.timeout_s) -> None:
        self._sc = sc
        self._clerk = AsyncKvClerk(sc.asynchronous, job, timeout_s)
        self._calls: dict[str, BlockingCalls] = {}
        """By group: to those of the clerk's servers that are open."""

    def get(self, key: Key) -> bytes:
        """See ``AsyncKvClerk.get``."""
        key = text_of(key)
        reply = self._ask(self._clerk.route[shard_of(key)], "KvSrv.Get", pb.GetRequest(keys=(key,)), pb.GetReply)
        if reply is not None:
            outcome = reply.outcomes[0]
            if outcome == pb.DONE:
                return reply.values[0]
            if outcome == pb.ABSENT:
                raise serr.NotFound(f"key {key}")
        # All else is the long way's: to read once more does no harm.
        return self._sc.run(self._clerk.get(key))

    def get_many(self, keys: Iterable[K]) -> dict[K, bytes]:
        """See ``AsyncKvClerk.get_many``."""
        given = list(keys)
        wanted = [text_of(key) for key in given]
        if len(wanted) > CLERK.keys_at_once_max:
            return by_given(given, wanted, self._sc.run(self._clerk.get_many(wanted)))
        return by_given(given, wanted, self._get_few(wanted))

    def _get_few(self, wanted: list[str]) -> dict[str, bytes]:
        by_group: dict[str, list[str]] = {}
        route = self._clerk.route
        for key in wanted:
            by_group.setdefault(route[shard_of(key)], []).append(key)
        values: dict[str, bytes] = {}
        requests = {group: pb.GetRequest(keys=part) for group, part in by_group.items()}
        replies = self._ask_each("KvSrv.Get", requests, pb.GetReply)
        # Those of groups that gave no reply, and those of shards that this clerk does not know the group of.
        unanswered = [key for group, part in by_group.items() if group not in replies for key in part]
        for group, reply in replies.items():
            # DONE is 0: all are there, as it mostly is.
            if not any(reply.outcomes):
                values.update(zip(by_group[group], reply.values, strict=True))
                continue
            for key, outcome, value in zip(by_group[group], reply.outcomes, reply.values, strict=True):
                if outcome == pb.DONE:
                    values[key] = value
                elif outcome != pb.ABSENT:
                    unanswered.append(key)
        if unanswered:
            values |= self._sc.run(self._clerk.get_many(unanswered))
        return values

    def put(self, key: Key, value: bytes) -> None:
        """See ``AsyncKvClerk.put``."""
        self._write(write_of(pb.PUT, key, value))

    def append(self, key: Key, value: bytes) -> None:
        """See ``AsyncKvClerk.append``."""
        self._write(write_of(pb.APPEND, key, value))

    def delete(self, key: Key) -> bool:
        """See ``AsyncKvClerk.delete``."""
        return self._write(write_of(pb.DELETE, key)) == pb.DONE

    def compare_and_set(self, key: Key, expected: bytes | None, value: bytes) -> bool:
        """See ``AsyncKvClerk.compare_and_set``."""
        return self._write(write_of(pb.CAS, key, value, expected)) == pb.DONE

    def _write(self, write: pb.Write) -> int:
        clerk, writes = self._clerk, [write]
        clerk.book.begin(writes)
        try:
            group = clerk.route[shard_of(write.key)]
            reply = self._ask(group, "KvSrv.Write", clerk.book.request(writes), pb.WriteReply)
            if reply is not None and reply.outcomes[0] in _SETTLED:
                check_outcomes(writes, reply.outcomes)
                return reply.outcomes[0]
            # It may have taken effect: a server that has seen its number does not carry it out again.
            return self._sc.run(clerk.write_begun(writes))[0]
        finally:
            clerk.book.end(writes)

    def put_many(self, values: Mapping[K, bytes]) -> None:
        """See ``AsyncKvClerk.put_many``."""
        self._sc.run(self._clerk.put_many(values))

    def scan(self, shard: int) -> dict[str, bytes]:
        """See ``AsyncKvClerk.scan``."""
        return self._sc.run(self._clerk.scan(shard))

    # -- the short way

    def _calls_to(self, group: str) -> BlockingCalls | None:
        """Calls to a group's leader; None while the clerk has no channel to it: then the long way opens one."""
        server = self._clerk.servers.get(group)
        if server is None or not server.is_open:
            return None
        calls = self._calls.get(group)
        if calls is None or calls.clnt is not server:
            calls = self._calls[group] = BlockingCalls(self._sc, server)
        return calls

    def _ask(self, group: str, method: str, request: Message, reply_class: type[R]) -> R | None:
        """Calls a group's leader, at most once; None without a reply: the call may have been carried out."""
        calls = self._calls_to(group)
        if calls is None:
            return None
        try:
            return calls.rpc(method, request, reply_class, CLERK.attempt_s)
        except serr.SigmaError as error:
            _log(f"{group}: {method}: {error}")
            return None

    def _ask_each(self, method: str, requests: Mapping[str, Message], reply_class: type[R]) -> dict[str, R]:
        """The same for several groups at a time; those without a reply are left out."""
        calls = {group: to for group in requests if (to := self._calls_to(group)) is not None}
        each = [(to, requests[group]) for group, to in calls.items()]
        replies: dict[str, R] = {}
        for group, reply in zip(calls, call_each(each, method, reply_class, CLERK.attempt_s), strict=True):
            if isinstance(reply, serr.SigmaError):
                _log(f"{group}: {method}: {reply}")
            else:
                replies[group] = reply
        return replies

    def close(self) -> None:
        """May be repeated."""
        self._sc.run(self._clerk.close())

    def __enter__(self) -> KvClerk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
