"""The members of an instance's etcd: boot's own, and one on each of some other hosts, which come and go.

What the members are stands in etcd. boot keeps it in a file as well, since after a power failure nobody can be asked
before some of the others are up again, which boot has to start.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.boot.etcd import EmbeddedEtcd, Membership, Ports, peer_url
from kernel.boot.etcdactor import SERVICE, has_data_of
from kernel.boot.memberrecord import Record, read_record, write_record
from kernel.boot.membership import AddMember, DropMember, KnownMember, PromoteMember, majority, next_step
from kernel.boot.part import KernelPart
from kernel.boot.placing import is_loopback
from kernel.named.etcd import Etcd
from kernel.shell import EtcdJoin
from sigmaos_ray import debug, serr
from sigmaos_ray.instance import TLS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kernel.boot.membership import Step
    from kernel.boot.placing import Place
    from kernel.boot.request import BootRequest
    from kernel.named.etcd import EtcdMember
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.instance import ServiceInfo
    from sigmaos_ray.sigmap import Endpoint

_log = debug.selector("BOOT")

_OTHERWISE: Final = (
    "the members of etcd know each other with it {}: start with `--etcd-members 1` once to turn it {}, then again with "
    "as many as you want"
)


def own_etcd(request: BootRequest, host: str, log_dir: Path, config: Config, tls: str = "") -> EmbeddedEtcd:
    """boot's own: alone, or with others that the request or the last start asked for; it is to be started. Inval for
    several members where other hosts cannot reach this one, or that spoke otherwise so far."""
    state_dir = Path(request.state_dir)
    record = read_record(state_dir)
    wanted = request.etcd_members or record.wanted
    if wanted == 1 and len(record.members) < 2:
        return EmbeddedEtcd(host, state_dir, log_dir, config, tls=tls)
    if is_loopback(host):
        reason = f"members of etcd: other hosts do not reach {host}; SIGMAOS_HOST says what they do"
        raise serr.Inval(str(wanted), reason)
    if wanted > 1 and len(record.members) > 1 and record.have_tls != bool(tls):
        raise serr.Inval(TLS_VARIABLE, _OTHERWISE.format(*(("off", "on") if tls else ("on", "off"))))
    membership = Membership(
        ports=Ports.steady(request.etcd_port),
        is_several=wanted > 1 and len(record.voters) > 1,
        forgets_others=wanted == 1,
    )
    write_record(state_dir, Record(wanted, record.members if wanted > 1 else (), bool(tls)))
    return EmbeddedEtcd(host, state_dir, log_dir, config, membership, tls=tls)


class EtcdMembers:
    """As many as the record wants. ``bring_up``, then ``follow_nodes`` as they come and go; in the end ``stop``, or
    ``abandon`` if Ray is gone."""

    def __init__(
        self,
        own: EmbeddedEtcd,
        args: Callable[[], KernelArgs],
        port: int,
        config: Config,
        on_change: Callable[[], None],
        say: Callable[[str], None],
        named: Callable[[], Endpoint],
    ) -> None:
        """``port``: of each member's clients; the next one is for its peers. ``named``: where the root realm's is."""
        self._own = own
        self._args = args
        self._port = port
        self._config = config
        self._on_change = on_change
        self._say = say
        self._named = named
        self._state_dir = Path(args().state_dir)
        self._record = read_record(self._state_dir)
        self._tls = args().etcd_tls
        self._etcd = Etcd([own.endpoint], config.named.etcd_timeout_s, tls=self._tls)
        self._peer_urls: dict[int, str] = {}
        self._hosts: dict[str, Place] = {}
        """Those that are up; of several nodes of one host the first."""
        self._gone_at_s: dict[str, float] = {}
        self._without_data: set[str] = set()
        self._parts: dict[int, KernelPart] = {}
        """By the numbers of members."""
        self._starts: dict[int, asyncio.Task[None]] = {}
        self._ends: set[asyncio.Task[None]] = set()
        """Of parts that are stopped."""

    @property
    def are_several(self) -> bool:
        """Whether there are to be more than boot's own."""
        return self._record.wanted > 1

    @property
    def endpoints(self) -> list[str]:
        """Of the members that serve, boot's own first."""
        others = [member.host for member in self._record.voters if member.host != self._own.host]
        return [self._own.endpoint, *(f"{host}:{self._port}" for host in others)]

    def services_on(self, kernel_id: str) -> dict[str, ServiceInfo]:
        """What stands on a kernel node of it."""
        infos = [part.info for part in self._parts.values() if part.kernel_id == kernel_id and part.info is not None]
        return {SERVICE.name: infos[0]} if infos else {}

    # -- the start

    async def bring_up(self, places: Callable[[], Awaitable[list[Place]]]) -> None:
        """Returns once anything can be written. Timeout, saying what is waited for, if too few hosts come up."""
        deadline_s = time.monotonic() + self._config.boot.etcd_majority_timeout_s
        is_told = False
        while True:
            await self.follow_nodes(await places())
            if self._has_majority() and await asyncio.to_thread(self._own.is_healthy):
                return
            if not is_told and len(self._record.voters) > 1:
                self._say(f"etcd: {self._waits_for()}")
                is_told = True
            if time.monotonic() > deadline_s:
                raise serr.Timeout("etcd", self._waits_for())
            await asyncio.sleep(self._config.boot.nodes_poll_s)

    def _has_majority(self) -> bool:
        """Of members on our Ray. Those of the Ray before it may still run, on hosts that have not noticed its end yet,
        and end in a moment."""
        voters = self._record.voters
        ours = [member for member in voters if member.id in self._parts and self._parts[member.id].info is not None]
        return len(ours) + 1 >= majority(len(voters))

    def _waits_for(self) -> str:
        voters = self._record.voters
        away = [member.host for member in voters if member.host not in self._hosts]
        return (
            f"{majority(len(voters))} of {len(voters)} members must be up, and those on {', '.join(away) or 'hosts'} "
            "are awaited: start Ray there, or give them up for good with `sigmaos start --etcd-members 1`"
        )

    # -- hosts come and go

    async def follow_nodes(self, places: Sequence[Place]) -> None:
        """The nodes may be others now: one step towards the members that are wanted."""
        self._hosts = {each.host: each for each in reversed(places)}
        now_s = time.monotonic()
        away = {member.host for member in self._record.members} - set(self._hosts)
        self._gone_at_s = {host: self._gone_at_s.get(host, now_s) for host in away}
        self._follow_parts()
        try:
            await self._mend()
        except serr.SigmaError as error:  # too few are up, or one does not know all yet: looked at again
            _log(f"members of etcd: {error}")
        self._follow_parts()

    async def _mend(self) -> None:
        members = await self._look()
        own = next((member for member in members if member.host == self._own.host), None)
        if own is not None and self._peer_urls[own.id] != self._own.peer_url:
            # It was alone, and nobody had to reach it.
            await self._etcd.move_member(own.id, self._own.peer_url)
            return
        gone_s = {host: time.monotonic() - at_s for host, at_s in self._gone_at_s.items()}
        step = next_step(
            self._record.wanted,
            members,
            self._own.host,
            [self._own.host, *(host for host in self._hosts if host != self._own.host)],
            gone_s,
            frozenset(self._without_data),
            self._config.boot.etcd_patience_s,
        )
        if step is not None:
            await self._do(step)
            await self._look()
        else:
            await self._keep_apart(members)

    async def _keep_apart(self, members: Sequence[KnownMember]) -> None:
        """etcd is led elsewhere than named, if it can: who loses both waits for two elections, one after the other."""
        named = self._named_host()
        leader_id = await self._etcd.leader()
        leads = next((member for member in members if member.id == leader_id), None)
        up = [member for member in members if member.host in self._hosts and member.host != named and not member.learns]
        if leads is None or leads.host != named or not up:
            return
        etcd = Etcd([f"{leads.host}:{self._port}"], self._config.named.etcd_timeout_s, tls=self._tls)
        try:
            await etcd.move_leader(up[0].id)
            _log(f"etcd is led on {up[0].host}")
        finally:
            await etcd.close()

    async def _do(self, step: Step) -> None:
        match step:
            case AddMember(host):
                await self._etcd.add_learner(self._peer_url(host))
                self._say(f"etcd: a member on {host} joins")
            case PromoteMember(member):
                await self._etcd.promote(member.id)
                self._say(f"etcd: the member on {member.host} has its vote")
            case DropMember(member):
                self._say(f"etcd: the member on {member.host} leaves")
                await self._etcd.remove_member(member.id)
                self._without_data.discard(member.host)

    def _named_host(self) -> str:
        addrs = self._named().addrs
        return addrs[0].rpartition(":")[0] if addrs else ""

    def _peer_url(self, host: str) -> str:
        return peer_url(host, self._port + 1, self._tls)

    async def _look(self) -> list[KnownMember]:
        """The members, as etcd has them."""
        _, listed = await self._etcd.members()
        self._peer_urls = {member.id: member.peer_urls[0] for member in listed if member.peer_urls}
        members = tuple(KnownMember(each.id, self._host_of(each), each.name, each.learns) for each in listed)
        if members != self._record.members:
            self._record = msgspec.structs.replace(self._record, members=members)
            await asyncio.to_thread(write_record, self._state_dir, self._record)
            self._on_change()
        return list(members)

    def _host_of(self, member: EtcdMember) -> str:
        if member.name == self._own.name:
            return self._own.host
        return urlsplit(member.peer_urls[0]).hostname or "" if member.peer_urls else ""

    # -- their actors

    def _follow_parts(self) -> None:
        wanted = {
            member.id: member
            for member in self._record.members
            if member.host != self._own.host and member.host in self._hosts and member.host not in self._without_data
        }
        for member_id in self._parts.keys() - wanted.keys():
            self._drop(member_id)
        for member_id, member in wanted.items():
            if member_id not in self._parts:
                self._parts[member_id] = self._part(member)
                self._starts[member_id] = asyncio.create_task(self._start(member), name=f"etcd-{member.host}")

    def _drop(self, member_id: int) -> None:
        part, start = self._parts.pop(member_id), self._starts.pop(member_id, None)
        if start is not None:
            start.cancel()
        if part.info is None:
            part.abandon()
            return
        task = asyncio.create_task(part.stop(), name="etcd-stop")
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def _part(self, member: KnownMember) -> KernelPart:
        def args_at(place: Place) -> KernelArgs:
            join = self._join(member)
            return msgspec.structs.replace(self._args(), kernel_id=place.kernel_id, host=place.host, etcd_join=join)

        name = f"{SERVICE.name}-{member.host}"
        present = self._hosts[member.host]

        def where() -> Place:
            # Of a host that is gone: it is dropped at the next look at the nodes.
            return self._hosts.get(member.host, present)

        return KernelPart(SERVICE, where, args_at, self._config, self._on_change, name=name)

    def _join(self, member: KnownMember) -> EtcdJoin:
        names = {other.id: other.name for other in self._record.members}
        name = names.get(member.id) or f"{self._own.name}-{member.host}"
        names[member.id] = name
        cluster = ",".join(f"{names[each]}={url}" for each, url in self._peer_urls.items() if names.get(each))
        is_new = not any(other.id == member.id and other.name for other in self._record.members)
        return EtcdJoin(
            member_id=member.id,
            name=name,
            is_new=is_new,
            initial_cluster=cluster or f"{name}={self._peer_url(member.host)}",
            port=self._port,
        )

    async def _start(self, member: KnownMember) -> None:
        part = self._parts[member.id]
        try:
            if member.name and not await self._has_data(member):
                debug.error(f"the member of etcd on {member.host} lost its data: another one takes its place")
                self._without_data.add(member.host)
                return
            await part.start()
        except (serr.SigmaError, ray.exceptions.RayError, ValueError, TimeoutError) as error:
            debug.error(f"etcd on {member.host}: {error}")
            await asyncio.sleep(self._config.boot.restart_pause_s)
            # The next look at the nodes starts it again.
            part.abandon()
            self._parts.pop(member.id, None)
            self._starts.pop(member.id, None)

    async def _has_data(self, member: KnownMember) -> bool:
        place = self._hosts[member.host]
        options: dict[str, Any] = {
            "num_cpus": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.ray_node_id, soft=False),
        }
        asked: Any = ray.remote(has_data_of).options(**options).remote(self._args().state_dir, member.id)
        timeout_s = self._config.boot.part_start_timeout_s
        return bool(await asyncio.wait_for(asyncio.wrap_future(asked.future()), timeout_s))

    # -- the end

    async def stop(self) -> None:
        """After all that needs etcd. What they know stays for the next start."""
        await self._end_starts()
        await asyncio.gather(*(part.stop() for part in self._parts.values()))
        self._parts = {}
        await self._etcd.close()

    async def abandon(self) -> None:
        """Ray is gone, and they with it."""
        await self._end_starts()
        for part in self._parts.values():
            part.abandon()
        self._parts = {}
        await self._etcd.close()

    async def _end_starts(self) -> None:
        tasks = set(self._starts.values()) | self._ends
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._starts = {}
