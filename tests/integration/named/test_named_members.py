"""named on an etcd with three members, each at an address of its own: one that goes is not missed, be it the first."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest
from tlsplaces import EXPIRED, LIMITS, client_file, host_place

from kernel.boot.etcd import EmbeddedEtcd, Membership, Ports, peer_url
from kernel.boot.etcdactor import MemberServer, has_data_of
from kernel.named.etcd import Etcd, UnknownOutcome, put
from kernel.named.server import NamedServer
from kernel.shell import EtcdJoin, KernelArgs
from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import Endpoint
from sigmaos_ray.tls.authority import Authority
from sigmaos_ray.tls.files import ETCD_SOCKET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")

HOSTS = ("127.0.23.1", "127.0.23.2", "127.0.23.3")
PORTS = Ports.steady(5750)
WITHIN_S = 60.0


class Trio:
    """Three members; the first is boot's."""

    def __init__(self, directory: Path, tls: str = "") -> None:
        """``tls``: the certificate of all of them, which are one host."""
        self._directory = directory
        self._tls = tls
        membership = Membership(ports=PORTS)
        self.own = EmbeddedEtcd(HOSTS[0], self.state_dir(HOSTS[0]), directory, config.LOCAL, membership, tls=tls)
        self.etcd = Etcd([self.own.endpoint], 3, tls=tls)
        self.others: dict[str, MemberServer] = {}
        self.ids: dict[str, int] = {}
        self.joins: dict[str, EtcdJoin] = {}

    def alone(self) -> EmbeddedEtcd:
        """boot's own on the same data, with the others given up."""
        membership = Membership(ports=PORTS, forgets_others=True)
        return EmbeddedEtcd(HOSTS[0], self.state_dir(HOSTS[0]), self._directory, config.LOCAL, membership)

    def again(self) -> EmbeddedEtcd:
        """boot's own on the same data, as one of several."""
        membership = Membership(ports=PORTS, is_several=True)
        return EmbeddedEtcd(HOSTS[0], self.state_dir(HOSTS[0]), self._directory, config.LOCAL, membership)

    def state_dir(self, host: str) -> Path:
        directory = self._directory / host
        directory.mkdir(exist_ok=True)
        return directory

    def endpoints(self) -> tuple[str, ...]:
        return tuple(f"{host}:{PORTS.client}" for host in HOSTS)

    async def grow(self) -> None:
        for host in HOSTS[1:]:
            await self.join(host)

    async def start(self, host: str, *, is_new: bool) -> None:
        _, members = await self.etcd.members()
        names = {member.peer_urls[0]: member.name or f"sigmaos-{host}" for member in members}
        self.joins[host] = EtcdJoin(
            member_id=self.ids[host],
            name=f"sigmaos-{host}",
            is_new=is_new,
            initial_cluster=",".join(f"{name}={url}" for url, name in names.items()),
            port=PORTS.client,
        )
        await self.launch(host)

    async def launch(self, host: str) -> None:
        """As boot last said."""
        state_dir = str(self.state_dir(host))
        args = KernelArgs(
            kernel_id=host,
            host=host,
            state_dir=state_dir,
            log_dir=state_dir,
            etcd_join=self.joins[host],
            etcd_tls=self._tls,
        )
        self.others[host] = MemberServer(args, lambda: None)
        await self.others[host].start()

    async def join(self, host: str) -> None:
        # Refused until all of them have known each other for some seconds, and the new one knows all.
        self.ids[host] = await _until(lambda: self.etcd.add_learner(peer_url(host, PORTS.peer, self._tls)))
        await self.start(host, is_new=True)
        await _until(lambda: self.etcd.promote(self.ids[host]))

    async def close(self) -> None:
        await asyncio.gather(*(member.stop() for member in self.others.values()))
        await self.etcd.close()
        self.own.child.end(10)


async def _until(call: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                return await call()
            except serr.SigmaError:
                await asyncio.sleep(0.1)


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[Trio]:
    trio = Trio(tmp_path)
    trio.own.start()
    try:
        await asyncio.to_thread(trio.own.wait)
        await trio.grow()
        yield trio
    finally:
        await trio.close()


async def test_without_the_first_member_and_its_named_names_can_be_written(trio: Trio) -> None:
    async with AsyncExitStack() as stack:
        stack.push_async_callback(close_channels)
        # The second was started when there was but one member: the others are found through it.
        known = {HOSTS[0]: trio.endpoints(), HOSTS[1]: trio.endpoints()[:1]}
        nameds = [
            NamedServer(KernelArgs(kernel_id=host, realm="trio", etcd_endpoints=endpoints, etcd_moves=True))
            for host, endpoints in known.items()
        ]
        for named in nameds:
            stack.push_async_callback(named.stop)
        await nameds[0].start()
        await nameds[1].stand()
        leading = asyncio.create_task(nameds[1].lead())
        addrs = tuple(named.endpoint.addrs[0] for named in nameds)
        env = ProcEnv(pid="test", realm="trio", named=Endpoint(addrs=addrs))
        sc = await stack.enter_async_context(AsyncSigmaClnt(env))
        await sc.put_file("name/ux/before", b"x")
        trio.own.child.process.kill()
        trio.own.child.process.wait()
        await nameds[0].stop()
        await asyncio.wait_for(leading, WITHIN_S)
        await sc.put_file("name/ux/after", b"y")
        assert [await sc.get_file(f"name/ux/{name}") for name in ("before", "after")] == [b"x", b"y"]
        # It comes back with what it had, and learns the rest.
        trio.own.start()
        await asyncio.to_thread(trio.own.wait)
        await trio.others[HOSTS[1]].stop()
        await sc.put_file("name/ux/later", b"z")


async def test_a_member_that_comes_back_has_its_data_and_a_new_one_sets_others_aside(trio: Trio) -> None:
    host = HOSTS[1]
    await trio.others[host].stop()
    state_dir = trio.state_dir(host)
    assert has_data_of(str(state_dir), trio.ids[host])
    assert not has_data_of(str(state_dir), trio.ids[HOSTS[2]])
    await trio.start(host, is_new=False)
    before = trio.ids[host]
    await _until(lambda: trio.etcd.remove_member(before))
    await trio.others[host].stop()
    await trio.join(host)
    assert (state_dir / "etcd" / "data.before").is_dir()
    assert not has_data_of(str(state_dir), before)
    assert len((await trio.etcd.members())[1]) == 3


async def test_a_member_comes_up_before_the_others(trio: Trio) -> None:
    """After a loss of power: boot starts its own one first, and the others once Ray runs."""
    await trio.etcd.transaction([], [put(b"key", b"value")])
    await asyncio.gather(*(member.stop() for member in trio.others.values()))
    trio.own.child.end(10)
    again = trio.again()
    again.start()
    try:
        await asyncio.to_thread(again.wait)
        assert not again.is_healthy()
        await trio.launch(HOSTS[1])
        kept = await _until(lambda: trio.etcd.get(b"key"))
        assert kept is not None
        assert kept.value == b"value"
    finally:
        again.child.end(10)


async def test_members_that_are_gone_for_good_are_given_up(trio: Trio) -> None:
    """``sigmaos start --etcd-members 1``: what was acknowledged is there, and one is enough again."""
    await trio.etcd.transaction([], [put(b"key", b"value")])
    await asyncio.gather(*(member.stop() for member in trio.others.values()))
    trio.own.child.end(10)
    alone = trio.alone()
    alone.start()
    try:
        await asyncio.to_thread(alone.wait)
        kept = await trio.etcd.get(b"key")
        assert kept is not None
        assert kept.value == b"value"
        assert len((await trio.etcd.members())[1]) == 1
    finally:
        alone.child.end(10)


async def test_the_lead_is_moved_from_the_member_that_has_it(trio: Trio) -> None:
    target = trio.ids[HOSTS[1]]
    assert await trio.etcd.leader() != target
    await _until(lambda: trio.etcd.move_leader(target))
    assert await trio.etcd.leader() == target
    with pytest.raises(serr.SigmaError):
        await trio.etcd.move_leader(trio.ids[HOSTS[2]])  # asked of one that leads no more


async def test_members_and_their_clients_speak_tls(tmp_path: Path) -> None:
    """They take hosts of the authority, and nobody else, no client either. Who connects later sees what was renewed."""
    authority = Authority.at(tmp_path / "boot", LIMITS)
    place = host_place(tmp_path / "host", authority, ["127.0.0.1", *HOSTS])
    stranger = host_place(tmp_path / "stranger", Authority.at(tmp_path / "other", LIMITS), HOSTS)
    trio = Trio(tmp_path, place)
    trio.own.start()
    try:
        await asyncio.to_thread(trio.own.wait)
        await trio.grow()
        await trio.etcd.transaction([], [put(b"key", b"value")])
        for host in HOSTS:
            for port in (PORTS.client, PORTS.peer):
                for tls in ("", stranger, client_file(tmp_path / "client.json", authority)):
                    assert not await _serves(f"{host}:{port}", tls), (host, port, tls)
            assert await _serves(f"{host}:{PORTS.client}", place)
        host_place(tmp_path / "host", Authority.at(tmp_path / "boot", EXPIRED), ["127.0.0.1", *HOSTS])
        assert not await _serves(trio.own.endpoint, place)
        host_place(tmp_path / "host", authority, ["127.0.0.1", *HOSTS])
        assert await _serves(trio.own.endpoint, place)
        assert await _serves(trio.own.endpoint, place, near=HOSTS[0]), "over the socket of the host"
        (tmp_path / "host" / ETCD_SOCKET).unlink()
        assert await _serves(trio.own.endpoint, place, near=HOSTS[0]), "where there is none"
        await trio.etcd.transaction([], [put(b"key", b"another")])
        found = await trio.etcd.get(b"key")
        assert found is not None
        assert found.value == b"another"
    finally:
        await trio.close()


async def _serves(endpoint: str, tls: str, near: str = "") -> bool:
    """Whether it is an etcd for somebody who shows that, by either of the ways in which it is asked."""
    etcd = Etcd([endpoint], 1, tls=tls, near=near)
    found = []
    try:
        with contextlib.suppress(serr.SigmaError):
            found.append(await etcd.version() != "")
        with contextlib.suppress(UnknownOutcome, serr.SigmaError):
            found.append((await etcd.transaction([], [put(b"asked", b"")]))[0])
    finally:
        await etcd.close()
    assert len(found) in (0, 2)
    return all(found) and bool(found)
