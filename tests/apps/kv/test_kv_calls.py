"""How clerks call servers, over each kind of connection: servers and clerks in one process, journals in memory."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from user.kv.blocking import KvClerk
from user.kv.config import Group, KvConfig, encode
from user.kv.journal import KvJournal
from user.kv.keys import SHARDS_COUNT
from user.kv.paths import KvPaths
from user.kv.service import KvSrv
from user.kv.shards import Shards
from user.kv.state import EMPTY, ShardTable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from sigmaos_ray.sigmap import Endpoint

GROUPS = ("grp-0", "grp-1")
VALUES = {f"key {number}": b"%d" % number for number in range(100)}


class MemoryFiles:
    """A journal's files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_full = False

    async def sizes(self) -> dict[str, int]:
        return {name: len(data) for name, data in self.files.items()}

    async def read(self, name: str) -> bytes:
        return self.files[name]

    async def create(self, name: str) -> None:
        self.files[name] = b""

    async def append(self, name: str, data: bytes) -> None:
        if self.is_full:
            raise serr.IOErr(name, "the disk is full")
        self.files[name] += data

    async def close_file(self, name: str) -> None:
        return

    async def rename(self, name: str, new: str) -> None:
        self.files[new] = self.files.pop(name)

    async def remove(self, name: str) -> None:
        self.files.pop(name, None)


def file_server(*services: object) -> FileServer:
    watches = WatchTable()
    return FileServer(MemFs(watches).root, watches, services=services)


class Store:
    """Two groups with half of the shards each; as ``sc`` a client on the loop's thread."""

    def __init__(self) -> None:
        self.paths = KvPaths("calls")
        self.files = {group: MemoryFiles() for group in GROUPS}
        self.servers: dict[str, FileServer] = {}
        self._journals: list[KvJournal] = []
        self.asynchronous: AsyncFsLib
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loopthread.shared().run(coroutine)

    async def _start(self) -> None:
        self._named = file_server()
        self.asynchronous = sc = AsyncFsLib(ProcEnv(pid="test", named=await self._named.start()))
        await sc.makedirs(self.paths.dir)
        shards = [GROUPS[number % 2] for number in range(SHARDS_COUNT)]
        config = KvConfig(epoch=1, seqno=1, shards=shards, groups=dict.fromkeys(GROUPS, Group(state="active")))
        await sc.put_file(self.paths.config, encode(config))
        self._shards = {group: await self._make_shards(group, shards) for group in GROUPS}
        for group in GROUPS:
            await self.serve(group)

    async def _make_shards(self, group: str, owners: list[str]) -> Shards:
        table = ShardTable()
        journal = KvJournal(self.files[group], table, lambda error: None)
        await journal.load()
        shards = Shards(table, journal, lambda: False)
        for number, owner in enumerate(owners):
            if owner == group:
                await shards.commit(*table.install(number, (1, 1), 0, 0, EMPTY, last=True))
        self._journals.append(journal)
        return shards

    async def serve(self, group: str) -> None:
        """At an address of its own, under the group's name."""
        server = self.servers[group] = file_server(KvSrv(self._shards[group]))
        endpoint: Endpoint = await server.start()
        await self.asynchronous.write_endpoint_file(self.paths.group(group), endpoint)

    async def stop(self) -> None:
        await self.asynchronous.close_fs()
        for server in (*self.servers.values(), self._named):
            await server.stop()
        for journal in self._journals:
            await journal.close()


@pytest.fixture(params=["grpc", "plain"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    store = Store()
    yield store
    store.run(store.stop())


@pytest.fixture
def clerk(store: Store) -> Iterator[KvClerk]:
    """That knows both groups."""
    clerk: Any = KvClerk(store, store.paths.job, timeout_s=2.0)  # type: ignore[arg-type]  # all of a client that it uses
    clerk.put_many(VALUES)
    yield clerk
    clerk.close()


def test_keys_of_several_groups(clerk: KvClerk) -> None:
    assert clerk.get_many([*VALUES, "x"]) == VALUES
    assert clerk.get("key 7") == b"7"
    with pytest.raises(serr.NotFound, match="key x"):
        clerk.get("x")
    clerk.put("key 7", b"seven")
    assert clerk.delete("key 8")
    assert not clerk.delete("key 8")
    assert clerk.compare_and_set("key 9", b"9", b"nine")
    assert not clerk.compare_and_set("key 9", b"9", b"ten")
    clerk.append("key 9", b"!")
    assert clerk.get_many(["key 7", "key 8", "key 9"]) == {"key 7": b"seven", "key 9": b"nine!"}


def test_what_a_server_refuses(store: Store, clerk: KvClerk) -> None:
    """Writes are tried again until the clerk's time is over, as another server may lead by then; reads go on."""
    for files in store.files.values():
        files.is_full = True
    with pytest.raises(serr.Timeout, match="the disk is full"):
        clerk.put("new", b"")
    assert clerk.get_many(VALUES) == VALUES


def test_a_server_that_went_is_looked_for(store: Store, clerk: KvClerk) -> None:
    before = store.servers["grp-1"]
    store.run(before.stop())
    store.run(store.serve("grp-1"))
    assert clerk.get_many(VALUES) == VALUES
    for number, key in enumerate(VALUES):
        clerk.append(key, b"!")
        assert clerk.get(key) == b"%d!" % number


def test_keys_are_text_or_bytes_alike(clerk: KvClerk) -> None:
    """In all calls; what cannot be a key is Inval, and nothing is changed."""
    clerk.put(b"n\xc3\xa9", b"1")
    clerk.append("né", b"2")
    assert clerk.get("né") == clerk.get(b"n\xc3\xa9") == b"12"
    assert clerk.compare_and_set(b"n\xc3\xa9", b"12", b"3")
    more: dict[str | bytes, bytes] = {b"a": b"4", "b": b"5"}
    clerk.put_many(more)
    expected: dict[str | bytes, bytes] = {b"n\xc3\xa9": b"3", "né": b"3", b"a": b"4", "b": b"5"}
    assert clerk.get_many([*expected, "none"]) == expected
    many = [f"many {number}".encode() for number in range(3000)]
    clerk.put_many(dict.fromkeys(many, b"x"))
    assert clerk.get_many(many) == dict.fromkeys(many, b"x")
    assert clerk.delete(b"n\xc3\xa9")
    assert not clerk.delete("né")
    bad: list[Any] = [b"\xff", "", 7, None, "\ud800", "k" * 5000]
    for key in bad:
        calls: list[Callable[[], object]] = [
            partial(clerk.get, key),
            partial(clerk.get_many, ["a", key]),
            partial(clerk.put, key, b"x"),
            partial(clerk.append, key, b"x"),
            partial(clerk.delete, key),
            partial(clerk.compare_and_set, key, None, b"x"),
            partial(clerk.put_many, {"a": b"changed", key: b"x"}),
        ]
        for call in calls:
            with pytest.raises(serr.Inval):
                call()
    assert clerk.get("a") == b"4"
