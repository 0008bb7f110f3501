"""The calls that kazoo's recipes make on a ZooKeeper client, made on our namespace instead.

A znode is a file; one that is ensured is a directory, since it has children, and its contents stand in a file beside
it. An ephemeral znode is a file under the client's lease, which is its session. Sequential names, conditions on
versions and transactions are the namespace's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kazoo import exceptions as zk
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import Callback, EventType, KazooState, WatchedEvent, ZnodeStat
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.counter import Counter
from kazoo.recipe.election import Election
from kazoo.recipe.lock import Lock, ReadLock, Semaphore, WriteLock
from kazoo.recipe.party import Party, ShallowParty
from kazoo.recipe.queue import LockingQueue, Queue
from kazoo.retry import KazooRetry

from sigmaos_ray import serr
from sigmaos_ray.fslib import Check, Create, Put, Remove
from sigmaos_ray.leaseclnt import LeaseClnt
from sigmaos_ray.sigmaclnt import SigmaClnt

if TYPE_CHECKING:
    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.fslib import Change, DirWatch
    from sigmaos_ray.leaseclnt import Lease
    from sigmaos_ray.sigmap import Stat

Watcher = Callable[[WatchedEvent], object]

_CONTENTS = ".contents-"
"""Before a directory's name: the file with its contents, which is no znode."""

_ERRORS: dict[type[serr.SigmaError], type[zk.KazooException]] = {
    serr.NotFound: zk.NoNodeError,
    serr.Exists: zk.NodeExistsError,
    serr.NotEmpty: zk.NotEmptyError,
    serr.Version: zk.BadVersionError,
    serr.NotDir: zk.NoNodeError,
    serr.Unreachable: zk.ConnectionLoss,
    serr.IOErr: zk.ConnectionLoss,
    serr.Closed: zk.ConnectionClosedError,
    serr.Inval: zk.BadArgumentsError,
}


def as_zookeepers(error: serr.SigmaError) -> zk.KazooException:
    if isinstance(error, serr.NotFound) and error.obj == "lease":
        return zk.SessionExpiredError(str(error))
    return next((theirs(str(error)) for ours, theirs in _ERRORS.items() if isinstance(error, ours)), zk.APIError(error))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except serr.SigmaError as error:
        raise as_zookeepers(error) from error


@contextlib.contextmanager
def _below_ephemeral() -> Iterator[None]:
    try:
        yield
    except serr.NotDir as error:
        raise zk.NoChildrenForEphemeralsError(str(error)) from error


class NamespaceClient:
    """A ``KazooClient`` as far as its recipes go. ``start`` it, and ``stop`` it. ``root``: the directory that is
    ``/``."""

    def __init__(self, proc_env: ProcEnv, root: str, timeout: float = 5.0) -> None:
        self._proc_env = proc_env
        self._root = root
        self._ttl_s = round(timeout)
        self.handler = SequentialThreadingHandler()
        self._retry = KazooRetry(max_tries=-1, max_delay=0.5, sleep_func=self.handler.sleep_func)
        self.state = KazooState.LOST
        self._listeners: list[Callable[[str], object]] = []
        self._watching: set[asyncio.Task[None]] = set()
        self.Barrier = functools.partial(Barrier, self)
        self.Counter = functools.partial(Counter, self)
        self.DoubleBarrier = functools.partial(DoubleBarrier, self)
        self.Election = functools.partial(Election, self)
        self.Lock = functools.partial(Lock, self)
        self.LockingQueue = functools.partial(LockingQueue, self)
        self.Party = functools.partial(Party, self)
        self.Queue = functools.partial(Queue, self)
        self.ReadLock = functools.partial(ReadLock, self)
        self.Semaphore = functools.partial(Semaphore, self)
        self.ShallowParty = functools.partial(ShallowParty, self)
        self.WriteLock = functools.partial(WriteLock, self)

    # -- the client's life

    def start(self) -> None:
        self._sc = SigmaClnt(self._proc_env)
        self._leases = LeaseClnt(self._sc)
        self.handler.start()
        self._begin_session()

    def _begin_session(self) -> None:
        self._lease: Lease = self._leases.ask_lease(self._root, self._ttl_s)
        self._lease.keep_extending()
        self._tell(KazooState.CONNECTED)

    def expire(self) -> None:
        """Ends the session, as ZooKeeper does with one that it has not heard of for its time-out; begins another."""
        self._lease.end()
        self._tell(KazooState.LOST)
        self._begin_session()

    def stop(self) -> None:
        """May be repeated."""
        if self.state == KazooState.LOST:
            return
        self._tell(KazooState.LOST)
        self._sc.run(self._end_watches())
        self._lease.end()
        self._sc.close()
        self.handler.stop()

    close = stop

    async def _end_watches(self) -> None:
        for task in self._watching:
            task.cancel()
        if self._watching:
            await asyncio.wait(self._watching)

    def _tell(self, state: str) -> None:
        self.state = state
        for listener in list(self._listeners):
            if listener(state) is True:
                self.remove_listener(listener)

    def add_listener(self, listener: Callable[[str], object]) -> None:
        self._listeners.append(listener)

    def remove_listener(self, listener: Callable[[str], object]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def retry(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self._retry.copy()(call, *args, **more)

    def server_version(self) -> tuple[int, int, int]:
        return (3, 9, 0)

    def sync(self, path: str) -> str:
        """Nothing to do: whoever leads has what was acknowledged."""
        return path

    # -- znodes

    def create(
        self,
        path: str,
        value: bytes = b"",
        acl: object = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
    ) -> str:
        if makepath:
            self.ensure_path(path.rpartition("/")[0])
        with _translated(), _below_ephemeral():
            [outcome] = self._sc.transact([self.creation(path, value, ephemeral=ephemeral, sequence=sequence)])
        return self._path(outcome.pathname)

    def creation(self, path: str, value: bytes, *, ephemeral: bool, sequence: bool) -> Create:
        return Create(self._pn(path), value, lease=self._lease if ephemeral else None, sequential=sequence)

    def ensure_path(self, path: str, acl: object = None) -> bool | str:
        """True if it was there."""
        if self.exists(path):
            return True
        with _translated(), _below_ephemeral():
            self._sc.makedirs(self._pn(path))
        return path

    def exists(self, path: str, watch: Watcher | None = None) -> ZnodeStat | None:
        if watch is not None:
            self._watch_node(path, watch)
        try:
            return self.get(path)[1]
        except zk.NoNodeError:
            return None

    def get(self, path: str, watch: Watcher | None = None) -> tuple[bytes, ZnodeStat]:
        if watch is not None:
            self._watch_node(path, watch)
        with _translated():
            while True:
                stat = self._sc.stat(self._pn(path))
                if stat.is_dir:
                    return self._get_of_dir(path, stat)
                data = self._sc.get_file(self._pn(path))
                if self._sc.stat(self._pn(path)).qid == stat.qid:
                    return data, _stat(stat, stat.qid.version, len(data), 0)

    def _get_of_dir(self, path: str, stat: Stat) -> tuple[bytes, ZnodeStat]:
        children = len(self.get_children(path))
        pn = self._contents(path)
        while True:
            try:
                before = self._sc.stat(pn).qid
                data = self._sc.get_file(pn)
            except serr.NotFound:
                return b"", _stat(stat, 0, 0, children)
            if self._sc.stat(pn).qid == before:
                return data, _stat(stat, before.version, len(data), children)

    def set(self, path: str, value: bytes, version: int = -1) -> ZnodeStat:
        with _translated():
            if not self._sc.is_dir(self._pn(path)):
                self._sc.transact([Put(self._pn(path), value, max(version, 0))])
            elif version == -1:
                self._sc.put_file(self._contents(path), value)
            else:
                self._set_of_dir(path, value, version)
        return self.get(path)[1]

    def _set_of_dir(self, path: str, value: bytes, version: int) -> None:
        pn = self._contents(path)
        try:
            self._sc.transact([Put(pn, value, version) if version else Create(pn, value)])
        except serr.Exists as error:
            raise serr.Version(pn) from error

    def delete(self, path: str, version: int = -1, recursive: bool = False) -> bool:
        with _translated():
            if recursive:
                self._sc.rmdir(self._pn(path))
            else:
                self._sc.transact(self.deletion(path, version))
        return True

    def deletion(self, path: str, version: int = -1) -> list[Change]:
        changes: list[Change] = [Remove(self._pn(path), max(version, 0))]
        try:
            self._sc.stat(self._contents(path))
        except (serr.NotFound, serr.NotDir):
            return changes
        return [*changes, Remove(self._contents(path))]

    def get_children(self, path: str, watch: Watcher | None = None) -> list[str]:
        if watch is not None:
            self._watch_children(path, watch)
        with _translated():
            names = [entry.name for entry in self._sc.get_dir(self._pn(path))]
        return [name for name in names if not name.startswith(_CONTENTS)]

    def transaction(self) -> Transaction:
        return Transaction(self)

    def transact(self, changes: list[Change]) -> list[Any]:
        """What each came to, or the error, for each."""
        try:
            return [self._path(outcome.pathname) for outcome in self._sc.transact(changes)]
        except serr.SigmaError as error:
            return [as_zookeepers(error)] * len(changes)

    def _pn(self, path: str) -> str:
        return self._root + path if path != "/" else self._root

    def _path(self, pn: str) -> str:
        return pn.removeprefix(self._root)

    def _contents(self, path: str) -> str:
        directory, _, name = self._pn(path).rpartition("/")
        return f"{directory}/{_CONTENTS}{name}"

    # -- watches: set before what they are to follow is read, and told once

    def _watch_node(self, path: str, watcher: Watcher) -> None:
        directory, _, name = self._pn(path).rpartition("/")

        def kind_of(event: str, about: str) -> str | None:
            if about != name:
                return None
            return EventType.CREATED if event == "created" else EventType.DELETED

        # Where not even the directory is there, the recipes have nothing to wait for.
        with contextlib.suppress(zk.NoNodeError):
            self._sc.run(self._watch(directory, path, kind_of, watcher))

    def _watch_children(self, path: str, watcher: Watcher) -> None:
        def kind_of(event: str, about: str) -> str | None:
            return None if about.startswith(_CONTENTS) else EventType.CHILD

        self._sc.run(self._watch(self._pn(path), path, kind_of, watcher))

    async def _watch(
        self, directory: str, path: str, kind_of: Callable[[str, str], str | None], watcher: Watcher
    ) -> None:
        watch = self._sc.asynchronous.watch_dir(directory)
        with _translated():
            await watch.__aenter__()
        task = asyncio.create_task(self._follow(watch, path, kind_of, watcher), name=f"watch {path}")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _follow(
        self, watch: DirWatch, path: str, kind_of: Callable[[str, str], str | None], watcher: Watcher
    ) -> None:
        kind = None
        try:
            while kind is None:
                event = await watch.next_event()
                kind = kind_of(event.kind, event.name)
        except serr.Closed:  # the directory was removed
            kind = EventType.DELETED
        finally:
            await watch.__aexit__(None, None, None)
        event_told = WatchedEvent(kind, KazooState.CONNECTED, path)
        self.handler.dispatch_callback(Callback("watch", watcher, (event_told,)))


class Transaction:
    """kazoo's ``TransactionRequest``: it commits when its block ends well, and returns errors instead of raising
    them."""

    def __init__(self, client: NamespaceClient) -> None:
        self._client = client
        self._changes: list[Change] = []

    def create(
        self, path: str, value: bytes = b"", acl: object = None, ephemeral: bool = False, sequence: bool = False
    ) -> None:
        self._changes.append(self._client.creation(path, value, ephemeral=ephemeral, sequence=sequence))

    def delete(self, path: str, version: int = -1) -> None:
        self._changes += self._client.deletion(path, version)

    def set_data(self, path: str, value: bytes, version: int = -1) -> None:
        self._changes.append(Put(self._client._pn(path), value, max(version, 0)))

    def check(self, path: str, version: int) -> None:
        self._changes.append(Check(self._client._pn(path), version))

    def commit(self) -> list[Any]:
        return self._client.transact(self._changes)

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if kind is None:
            self.commit()


def _stat(stat: Stat, version: int, length: int, children: int) -> ZnodeStat:
    at_ms = int(stat.mtime * 1000)
    return ZnodeStat(0, stat.qid.version, at_ms, at_ms, version, 0, 0, 0, length, children, 0)
