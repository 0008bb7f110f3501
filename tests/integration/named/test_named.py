"""named on a real etcd (D-1 to D-9, L-1 to L-31, K-3)."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import pytest

from kernel.named import election as elections
from kernel.named.etcd import Etcd
from kernel.named.keys import Keys
from kernel.named.state import Plan
from sigmaos_ray import config, serr
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.pb.rpc_pb2 import LeaseReply, LeaseRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import DMDEVICE, DMTMP, NAMED_ROOT_DIRS, OEXCL, OREAD, OTRUNC, OWRITE, Fence, named_election

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from etcd_child import EtcdChild
    from harness import Realm

    from sigmaos_ray.leaseclnt import AsyncLease
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


async def test_the_root_after_the_first_start(realm: Realm) -> None:
    """K-3, Z-1."""
    named = await realm.named()
    sc = await realm.clnt(named)
    names = [stat.name for stat in await sc.get_dir("name/")]
    assert names == [".fences", ".pstatsd", ".statsd", "rpc", *sorted([*NAMED_ROOT_DIRS, named_election(realm.name)])]
    leader = await sc.get_dir(f"name/{named_election(realm.name)}")
    assert [stat.name for stat in leader] == ["sigma-1"]
    assert leader[0].is_endpoint


async def test_the_instances_own_directories_stay(realm: Realm) -> None:
    """N-18: nothing below goes either, whichever call it is."""
    sc = await realm.clnt(await realm.named())
    await sc.put_file("name/ux/f", b"x")
    await sc.put_file("name/f", b"x")
    await sc.mkdir("name/d")
    await sc.put_file("name/d/ux", b"x")
    election = f"name/{named_election(realm.name)}"
    calls = [call(pn) for pn in ("name/ux", "name/s3", election) for call in (sc.rmdir, sc.remove, sc.rmdir_entries)]
    calls += [sc.rmdir("name/ux/"), sc.rmdir("name/d/../ux"), sc.rmdir_entries("name/")]
    calls += [sc.rename("name/s3", "name/d/s3"), sc.rename("name/ux", "name/x"), sc.rename("name/d", "name/s3")]
    for call in calls:
        with pytest.raises(serr.NoRemove):
            await call
    for pn in ("name", "name/", "name/ux/..", "name/..", "name/.", "name/ux/."):
        with pytest.raises(serr.Inval):
            await sc.rmdir(pn)
        with pytest.raises(serr.Inval):
            await sc.remove(pn)
    assert await sc.get_file("name/ux/f") == b"x"
    assert len(await sc.get_dir(election)) == 1
    await sc.rmdir("name/d")  # a file of such a name elsewhere is nobody's


async def test_what_the_instance_says_of_itself_stays(realm: Realm) -> None:
    """N-18: by its name alone nobody removes or renames it; whoever wrote it knows what it holds."""
    sc = await realm.clnt(await realm.named())
    for directory in ("boot", "kpids", "realm"):
        pn = f"name/{directory}/x"
        await sc.put_file(pn, b"said")
        for call in (sc.remove(pn), sc.rename(pn, f"{pn}2"), sc.rename(pn, "name/x")):
            with pytest.raises(serr.NoRemove):
                await call
        await sc.put_file(pn, b"said anew")
        with pytest.raises(serr.NotFound):
            await sc.remove_own(pn, b"said")
        await sc.remove_own(pn, b"said anew")
        assert await sc.get_dir(f"name/{directory}") == []


async def test_files_outlive_named(realm: Realm) -> None:
    """D-3: contents, directories, links, times and versions are there after a restart."""
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.mkdir("name/d")
    await sc.put_file("name/d/f", b"contents", perm=0o640)
    await sc.symlink("name/d", "name/link")
    await sc.put_file("name/gone", b"")
    await sc.remove("name/gone")
    await sc.rename("name/d/f", "name/d/g")
    before = [await sc.stat(pn) for pn in ("name/d", "name/d/g", "name/link")]
    await named.stop()

    again = await realm.clnt(await realm.named())
    after = [await again.stat(pn) for pn in ("name/d", "name/d/g", "name/link")]
    assert [(stat.name, stat.mode, stat.qid.path, stat.length) for stat in after] == [
        (stat.name, stat.mode, stat.qid.path, stat.length) for stat in before
    ]
    assert all(new.mtime == pytest.approx(old.mtime) for new, old in zip(after, before, strict=True))
    assert all(new.qid.version >= old.qid.version for new, old in zip(after, before, strict=True))
    assert await again.get_file("name/link/g") == b"contents"
    with pytest.raises(serr.NotFound):
        await again.stat("name/gone")


async def test_concurrent_writes_share_transactions(realm: Realm) -> None:
    """Group commit: what waits while a transaction is under way goes together in the next one."""
    named = await realm.named()
    sc = await realm.clnt(named)
    committer = named.fs.committer
    before = committer.transactions_count
    await asyncio.gather(*(sc.put_file(f"name/ux/{number}", b"") for number in range(300)))
    assert committer.transactions_count - before < 100
    assert len(await sc.get_dir("name/ux")) == 300


async def test_five_thousand_entries(realm: Realm) -> None:
    """P-12, and not one value per directory (D-5)."""
    named = await realm.named()
    sc = await realm.clnt(named)
    wanted = [f"f{number:05}" for number in range(5000)]
    for start in range(0, 5000, 1000):
        await asyncio.gather(*(sc.put_file(f"name/ux/{name}", b"") for name in wanted[start : start + 1000]))
    assert [stat.name for stat in await sc.get_dir("name/ux")] == wanted
    await named.stop()
    again = await realm.clnt(await realm.named())
    assert [stat.name for stat in await again.get_dir("name/ux")] == wanted


async def test_the_limit_of_a_file(realm: Realm) -> None:
    """D-5: Inval, with the limit in the message; nothing is changed."""
    sc = await realm.clnt(await realm.named())
    await sc.put_file("name/f", b"x" * (1 << 20))
    for call in (
        sc.put_file("name/f", b"x" * ((1 << 20) + 1)),
        sc.set_file("name/f", b"x", offset=1 << 40),
        sc.set_file("name/new", b"x", offset=1 << 40),
    ):
        with pytest.raises(serr.Inval, match="1048576"):
            await call
    assert len(await sc.get_file("name/f")) in (0, 1 << 20)


async def test_acknowledged_writes_survive_kill_9_of_etcd(realm: Realm, etcd: EtcdChild) -> None:
    """What was acknowledged is there; what was not is reported as failed or takes effect later, once."""
    named = await realm.named(election_ttl_s=20)
    sc = await realm.clnt(named)
    acknowledged: list[int] = []

    async def write() -> None:
        number = 0
        while True:
            try:
                await sc.put_file(f"name/ux/{number}", str(number).encode(), mode=OWRITE | OEXCL)
                acknowledged.append(number)
            except serr.SigmaError:
                await asyncio.sleep(0.01)
            number += 1

    writing = asyncio.create_task(write())
    await sc.wait_create("name/ux/50", 10)
    etcd.kill()
    etcd.start()  # from this thread, with which it ends
    seen = len(acknowledged)
    deadline = time.monotonic() + 15
    while len(acknowledged) < seen + 20:
        assert time.monotonic() < deadline, "no write succeeds after etcd came back"
        await asyncio.sleep(0.05)
    writing.cancel()
    await asyncio.wait({writing})
    await named.stop()
    again = await realm.clnt(await realm.named())
    there = {stat.name for stat in await again.get_dir("name/ux")}
    assert {str(number) for number in acknowledged} <= there
    for number in acknowledged:
        assert await again.get_file(f"name/ux/{number}") == str(number).encode()


async def test_what_etcd_was_asked_for_is_shown(realm: Realm) -> None:
    """D-9."""
    sc = await realm.clnt(await realm.named())
    for data in (b"1", b"2"):
        await sc.put_file("name/f", data)
    assert await sc.get_file("name/f") == b"2"
    assert (await sc.read_pstats())["name/f"] == {"gets": 0, "puts": 2}  # contents are in memory


# -- leadership


async def test_a_deposed_leader_changes_nothing(realm: Realm) -> None:
    """D-2, L-23: its transactions compare its election key."""
    named = await realm.named()
    etcd = Etcd([realm.endpoint], 5)
    oldest = await etcd.oldest(Keys(realm.name).election)
    assert oldest is not None
    await etcd.revoke(oldest.lease)
    with pytest.raises(serr.Closed):
        await named.fs.committer.commit(Plan())
    with pytest.raises(serr.Closed, match="expired"):  # and once it knows, it answers no reads
        named._election.guard()
    await etcd.close()


async def test_a_leader_past_its_lease_answers_nothing(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-7: after a long stop of the process no stale read is served, whatever the keeper did not come to."""
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.put_file("name/f", b"old")
    fd = await sc.open("name/f", OREAD)
    real = elections._now_s
    monkeypatch.setattr(elections, "_now_s", lambda: real() + 3600)
    with pytest.raises(serr.Closed, match="expired"):
        await sc.read(fd, 10)
    with pytest.raises(serr.Unreachable, match="expired"):  # by pathname: no other leader was found in time
        await sc.get_file("name/f")
    monkeypatch.undo()
    with pytest.raises(serr.Closed, match="expired"):  # for good: another may lead since
        named._election.guard()


async def test_leaders_follow_each_other(realm: Realm) -> None:
    """D-6: a candidate waits; when the leader resigns it leads, with all files, in a newer epoch."""
    first = await realm.named("sigma-1")
    sc = await realm.clnt(first)
    await sc.put_file("name/f", b"x")
    second = asyncio.create_task(realm.named("sigma-2"))
    done, _ = await asyncio.wait({second}, timeout=0.5)
    assert not done, "two leaders"
    await first.stop()
    took = await asyncio.wait_for(second, 5)
    again = await realm.clnt(took)
    assert await again.get_file("name/f") == b"x"
    assert [stat.name for stat in await again.get_dir(f"name/{named_election(realm.name)}")] == ["sigma-2"]
    leader = await elections.read_leader([realm.endpoint], realm.name)
    assert leader == took.endpoint


async def test_a_leader_whose_process_is_gone_is_replaced_at_once(realm: Realm) -> None:
    """A successor on the same host sees that the process is gone, and does not wait for the lease (60 s here)."""
    script = f"""
import asyncio, msgspec
from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config
async def main():
    long = msgspec.structs.replace(config.LOCAL, lease=config.Leases(election_ttl_s=60))
    args = KernelArgs(kernel_id="sigma-dead", realm={realm.name!r}, etcd_endpoints=({realm.endpoint!r},))
    await NamedServer(args, config=long).start()
    print("leads", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    leader = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert leader.stdout is not None
    assert await leader.stdout.readline() == b"leads\n"
    leader.kill()
    await leader.wait()
    start = time.monotonic()
    await realm.named()
    assert time.monotonic() - start < 10


async def test_fenced_writes(realm: Realm) -> None:
    """L-21, also after a change of leader: the newest fence of a pathname stands in etcd."""
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/f", b"mine")
    await sc.fence_dir("name/ux", Fence("name/leader", 7))
    fd = await sc.open("name/ux/f", OWRITE)
    await sc.put_file("name/ux/f", b"mine")
    other = await realm.clnt(named)
    await other.fence_dir("name/ux", Fence("name/leader", 8))
    await other.put_file("name/ux/g", b"theirs")
    assert await other.get_file("name/.fences/name-leader") == b'{"pathname":"name/leader","epoch":8,"seqno":0}'

    async def all_stale(sc: AsyncSigmaClnt, *more: Awaitable[object]) -> None:
        for call in (
            sc.put_file("name/ux/f", b"late"),
            sc.create("name/ux/h"),
            sc.open("name/ux/f", OWRITE | OTRUNC),
            sc.remove("name/ux/f"),
            sc.rename("name/ux/f", "name/ux/h"),
            sc.rename("name/ux/f", "name/s3/h"),
            *more,
        ):
            with pytest.raises(serr.Stale):
                await call
        assert await sc.get_file("name/ux/f") == b"mine"

    await all_stale(sc, sc.write(fd, b"late"))
    await sc.put_file("name/elsewhere", b"unfenced")
    await named.stop()
    again = await realm.clnt(await realm.named())
    await again.fence_dir("name/ux", Fence("name/leader", 7, 9))
    await all_stale(again)
    await again.remove("name/.fences/name-leader")
    await again.put_file("name/ux/f", b"any again")
    assert await again.get_file_json("name/.fences/name-leader") == {"pathname": "name/leader", "epoch": 7, "seqno": 9}


async def test_a_leader_that_leads_is_not_forgotten(realm: Realm) -> None:
    """L-21: however many fences named hears of, its own leaders go on; those that are over are forgotten, and stay
    out."""
    few = config.Store(fences_max=3)
    named = await realm.named(store=few)
    sc, over = await realm.clnt(named), await realm.clnt(named)
    await sc.mkdir("name/d")
    for clnt, pn in ((sc, "name/leads"), (over, "name/over")):
        candidate = AsyncElectClnt(clnt, pn)
        await clnt.fence_dir("name/d", await candidate.acquire_leadership())
        await clnt.put_file("name/d/f", b"")
    await candidate.release_leadership()
    for number in range(8):
        async with AsyncElectClnt(await realm.clnt(named), f"name/other{number}"):
            continue
    shown = [entry.name for entry in await sc.get_dir("name/.fences")]
    assert "name-leads" in shown
    assert len(shown) == 3 + 1
    await sc.put_file("name/d/f", b"leads")
    with pytest.raises(serr.Stale):
        await over.put_file("name/d/f", b"over")
    assert await sc.get_file("name/d/f") == b"leads"
    assert len([key for key in await realm.keys() if b"/f/name/" in key]) == 3


async def end_lease(sc: AsyncSigmaClnt, lease_id: int) -> None:
    """Through a client that did not ask for it."""
    await AsyncRPCClnt(sc, "name").rpc("LeaseSrv.End", LeaseRequest(lease_id=lease_id), LeaseReply)


async def test_a_leader_file_elects(realm: Realm) -> None:
    """L-22: its pathname and the revision at which it was made are a fence that ends with it, whoever notices; L-31:
    the next epoch is greater. A change of named's leader does not matter."""
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/f", b"old")

    async def lead(sc: AsyncSigmaClnt) -> tuple[AsyncLease, Fence]:
        lease = await AsyncLeaseClnt(sc).ask_lease("name/leader", 5)
        await sc.put_leased_file("name/leader", b"me", lease, DMDEVICE | 0o777)
        return lease, Fence("name/leader", (await sc.stat("name/leader")).qid.version)

    first, fence = await lead(sc)
    await sc.fence_dir("name/ux", fence)
    await sc.put_file("name/ux/f", b"first")
    with pytest.raises(serr.Exists):
        await sc.put_leased_file("name/leader", b"another", first, DMDEVICE | 0o777)
    await named.stop()
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.fence_dir("name/ux", fence)
    await sc.put_file("name/ux/f", b"still first")
    await end_lease(sc, first.id)
    with pytest.raises(serr.Stale):  # though nobody leads yet
        await sc.put_file("name/ux/f", b"late")
    other = await realm.clnt(named)
    _, newer = await lead(other)
    assert newer.epoch > fence.epoch
    with pytest.raises(serr.Stale):
        await sc.put_file("name/ux/f", b"late")
    await other.fence_dir("name/ux", newer)
    await other.put_file("name/ux/f", b"second")
    await other.put_file("name/leader", b"more about me")
    await other.put_file("name/ux/f", b"still second")
    await other.remove("name/leader")
    with pytest.raises(serr.Stale):
        await other.put_file("name/ux/f", b"late")
    assert await sc.get_file("name/ux/f") == b"still second"


# -- leases


async def test_a_put_under_a_lease_ties_the_file_to_it(realm: Realm) -> None:
    """From no lease, and from another one whose end then does not matter."""
    named = await realm.named()
    sc, other = await realm.clnt(named), await realm.clnt(named)
    first = await AsyncLeaseClnt(sc).ask_lease("name/f", 5)
    second = await AsyncLeaseClnt(other).ask_lease("name/f", 5)
    await sc.put_file("name/f", b"free")
    for lease in (first, second):
        await sc.put_leased_file("name/f", b"tied", lease, mode=OTRUNC)
        assert (await sc.stat("name/f")).mode & DMTMP
    await first.end()
    await sc.put_file("name/f", b"still there")
    await named.stop()
    again = await realm.clnt(await realm.named())
    assert await again.get_file("name/f") == b"still there"
    await end_lease(again, second.id)
    with pytest.raises(serr.NotFound):  # at once
        await again.stat("name/f")
    assert [key for key in await realm.keys() if key.endswith(b"/f")] == []


async def test_leased_files_go_with_their_lease(realm: Realm) -> None:
    """L-2: not before, with a removed event, and nothing is left in etcd."""
    sc = await realm.clnt(await realm.named())
    before = set(await realm.keys())
    leases = AsyncLeaseClnt(sc)
    lease = await leases.ask_lease("name/ux/f", 2)
    assert await leases.ask_lease("name/ux/g", 2) is lease
    async with sc.watch_dir("name/ux") as watch:
        await sc.put_leased_file("name/ux/f", b"x", lease)
        assert (await watch.next_event(5)).kind == "created"
        assert (await sc.stat("name/ux/f")).length == 1
        event = await watch.next_event(10)
        assert (event.kind, event.name) == ("removed", "f")
    with pytest.raises(serr.NotFound):
        await sc.get_file("name/ux/f")
    assert set(await realm.keys()) == before


async def test_an_extended_lease_keeps_its_files_and_ending_it_removes_them(realm: Realm) -> None:
    sc = await realm.clnt(await realm.named())
    leases = AsyncLeaseClnt(sc)
    lease = await leases.ask_lease("name/ux/f", 2)
    lease.keep_extending()
    await sc.put_leased_file("name/ux/f", b"x", lease)
    await asyncio.sleep(5)
    assert await sc.get_file("name/ux/f") == b"x"
    await lease.end()
    await sc.wait_remove("name/ux/f", 5)
    with pytest.raises(serr.NotFound):
        await sc.put_leased_file("name/ux/g", b"x", lease)


async def test_rename_keeps_the_lease_and_frees_the_name(realm: Realm) -> None:
    """L-3."""
    sc = await realm.clnt(await realm.named())
    leases = AsyncLeaseClnt(sc)
    lease = await leases.ask_lease("name/ux/f")
    await sc.put_leased_file("name/ux/old", b"leased", lease)
    await sc.put_leased_file("name/ux/removed", b"leased", lease)
    await sc.rename("name/ux/old", "name/ux/new")
    await sc.put_file("name/ux/old", b"ordinary")
    await sc.remove("name/ux/removed")
    await sc.put_file("name/ux/removed", b"ordinary")
    await lease.end()
    await sc.wait_remove("name/ux/new", 5)
    assert await sc.get_file("name/ux/old") == b"ordinary"
    assert await sc.get_file("name/ux/removed") == b"ordinary"


async def test_leases_outlive_a_change_of_leader(realm: Realm) -> None:
    """L-5."""
    first = await realm.named()
    sc = await realm.clnt(first)
    lease = await AsyncLeaseClnt(sc).ask_lease("name/ux/f", 10)
    await sc.put_leased_file("name/ux/f", b"x", lease)
    await first.stop()
    again = await realm.clnt(await realm.named())
    assert await again.get_file("name/ux/f") == b"x"
    with pytest.raises(serr.NotFound):
        await again.get_file(f"name/{named_election(realm.name)}/sigma-0")
