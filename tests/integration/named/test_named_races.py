"""named's operations against each other, and against clients that go away in the middle (P-11, P-15)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import DMDIR, OREAD, OTRUNC, OWRITE

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from harness import Realm

    from kernel.named.nodes import NamedDir
    from kernel.named.server import NamedServer

CALLER = Caller()


async def _make_dir(named: NamedServer, name: str) -> NamedDir:
    node, _ = await named.root.create(CALLER, name, OpenHow(OREAD, DMDIR | 0o777))
    return cast("NamedDir", node)


async def _put(directory: NamedDir, name: str, data: bytes = b"") -> int:
    return await directory.put(CALLER, name, data, OpenHow(OWRITE | OTRUNC, 0o777))


async def _remove(directory: NamedDir, name: str) -> None:
    await directory.remove_entry(CALLER, name)


async def _rename(directory: NamedDir, name: str, target: NamedDir, new_name: str) -> None:
    await directory.rename_entry(CALLER, name, target, new_name)


async def _unless(expected: type[serr.SigmaError], call: Coroutine[Any, Any, object]) -> bool:
    """True if the call succeeded, False if it failed as it may."""
    try:
        await call
    except expected:
        return False
    return True


async def test_a_cancelled_change_takes_effect_or_not_in_memory_as_in_etcd(realm: Realm) -> None:
    """A session that ends cancels its requests; what etcd took must show, now and after a restart."""
    named = await realm.named()
    directory = await _make_dir(named, "d")
    await _put(directory, "removed")
    await _put(directory, "renamed")
    await _put(directory, "written", b"old")
    calls = [
        _put(directory, "made"),
        _put(directory, "written", b"new"),
        _remove(directory, "removed"),
        _rename(directory, "renamed", directory, "moved"),
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await _put(directory, "last")  # a transaction after theirs
    sc = await realm.clnt(named)
    before = {stat.name: await sc.get_file(f"name/d/{stat.name}") for stat in await sc.get_dir("name/d")}
    await named.stop()
    again = await realm.clnt(await realm.named())
    after = {stat.name: await again.get_file(f"name/d/{stat.name}") for stat in await again.get_dir("name/d")}
    assert before == after


async def test_writers_and_removers_of_one_name_never_wait_for_each_other_for_ever(realm: Realm) -> None:
    named = await realm.named()
    directory = await _make_dir(named, "d")
    for number in range(20):
        name = f"f{number}"
        await _put(directory, name)
        file = await (await directory.lookup(CALLER, name)).open(CALLER, OpenHow(OWRITE))
        calls = [
            file.write(0, b"x"),
            _unless(serr.NotFound, _remove(directory, name)),
            _put(directory, name, b"y"),
            file.write(0, b"z"),
            _unless(serr.NotFound, _rename(directory, name, directory, f"{name}.moved")),
            _put(directory, name, b"z"),
        ]
        await asyncio.wait_for(asyncio.gather(*calls), 10)


async def test_of_many_renames_of_one_file_exactly_one_succeeds(realm: Realm) -> None:
    """P-11: the others get NotFound, also when they all replace one target."""
    named = await realm.named()
    directory = await _make_dir(named, "d")
    for _ in range(10):
        await _put(directory, "from")
        results = await asyncio.gather(
            *(_unless(serr.NotFound, _rename(directory, "from", directory, f"to{n % 2}")) for n in range(8)),
            *(_put(directory, f"to{n}") for n in range(2)),
        )
        assert [result for result in results if result is True] == [True]


async def test_renames_onto_one_name_all_succeed(realm: Realm) -> None:
    named = await realm.named()
    directory = await _make_dir(named, "d")
    names = [f"f{number}" for number in range(16)]
    await asyncio.gather(*(_put(directory, name, name.encode()) for name in names))
    await asyncio.gather(*(_rename(directory, name, directory, "to") for name in names))
    assert [stat.name for stat in await directory.entries(CALLER, "", 100)] == ["to"]


async def test_renames_of_directories_make_no_ring(realm: Realm) -> None:
    """Of a into b and b into a, one wins and the other is refused."""
    named = await realm.named()
    for _ in range(10):
        one, other = await _make_dir(named, "one"), await _make_dir(named, "other")
        root = cast("NamedDir", named.root)
        results = await asyncio.gather(
            _unless(serr.Inval, _rename(root, "one", other, "x")),
            _unless(serr.Inval, _rename(root, "other", one, "x")),
        )
        assert sorted(results) == [False, True]
        top, below = (one, other) if results[1] else (other, one)
        await _remove(top, below.name)
        await _remove(root, top.name)


async def test_a_directory_is_removed_or_filled_but_not_both(realm: Realm) -> None:
    named = await realm.named()
    for number in range(10):
        directory = await _make_dir(named, f"d{number}")
        filled, removed = await asyncio.gather(
            _unless(serr.NotFound, _put(directory, "f")),
            _unless(serr.NotEmpty, _remove(cast("NamedDir", named.root), directory.name)),
        )
        assert filled != removed


@pytest.mark.parametrize("victim_is_parent", [False, True])
async def test_a_rename_over_a_full_directory_is_refused(realm: Realm, victim_is_parent: bool) -> None:
    """Also over the directory that the object itself is in."""
    named = await realm.named()
    full = await _make_dir(named, "full")
    await _put(full, "f")
    await full.create(CALLER, "d", OpenHow(OREAD, DMDIR | 0o777))
    await named.root.create(CALLER, "d", OpenHow(OREAD, DMDIR | 0o777))
    root = cast("NamedDir", named.root)
    source = full if victim_is_parent else root
    with pytest.raises(serr.NotEmpty):
        await asyncio.wait_for(_rename(source, "d", root, "full"), 5)
    if victim_is_parent:
        with pytest.raises(serr.IsDir):
            await asyncio.wait_for(_rename(full, "f", root, "full"), 5)
