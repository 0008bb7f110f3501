"""A member of the instance's etcd on another host than boot's: a Ray actor, and the etcd as its child."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.boot.etcd import EmbeddedEtcd, Membership, Ports
from kernel.boot.keptfiles import ETCD_DIR_NAME
from kernel.service import Service
from kernel.shell import KernelActor, KernelArgs, KernelService
from sigmaos_ray import config, debug, serr
from sigmaos_ray.selectors import Selectors
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE: Final = Service(
    name="etcd",
    actor="kernel.boot.etcdactor:EtcdKernel",
    is_per_node=False,
    serves_files=False,
    selectors=Selectors(),
)
"""On no list of services, and nobody chooses it: it is a part of named's storage."""

_MARK: Final = "member"
"""In etcd's directory of a host: the number of the member whose data it has."""
_DATA: Final = "data"
_SET_ASIDE: Final = "data.before"


def has_data_of(state_dir: str, member_id: int) -> bool:
    """Whether this host has what that member knows."""
    directory = Path(state_dir) / ETCD_DIR_NAME
    try:
        return int((directory / _MARK).read_text()) == member_id and (directory / _DATA).is_dir()
    except (FileNotFoundError, ValueError):
        return False


def make_room(state_dir: str, member_id: int) -> None:
    """For the data of a new member. Those of another one are set aside, once: perhaps nobody else has them."""
    directory = Path(state_dir) / ETCD_DIR_NAME
    if has_data_of(state_dir, member_id):
        return
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / _DATA).exists():
        shutil.rmtree(directory / _SET_ASIDE, ignore_errors=True)
        (directory / _DATA).rename(directory / _SET_ASIDE)
    (directory / _MARK).write_text(str(member_id))


class MemberServer(KernelService):
    """One member, on the loop that is given. ``on_lost`` is told once when its process ends by itself."""

    def __init__(self, args: KernelArgs, on_lost: Callable[[], None]) -> None:
        self._args = args
        self._on_lost = on_lost
        self._etcd: EmbeddedEtcd | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> Endpoint:
        """Returns once it takes connections; it serves when enough others do."""
        join = self._args.etcd_join
        if join is None:
            raise serr.Inval("etcd", "nothing says which member it is")
        if join.is_new:
            await asyncio.to_thread(make_room, self._args.state_dir, join.member_id)
        membership = Membership(name=join.name, ports=Ports.steady(join.port), initial_cluster=join.initial_cluster)
        state_dir, log_dir = Path(self._args.state_dir), Path(self._args.log_dir)
        etcd = EmbeddedEtcd(self._args.host, state_dir, log_dir, config.current(), membership, tls=self._args.etcd_tls)
        # On this thread, which lives as long as the actor: the child ends with the thread that started it.
        etcd.start()
        self._etcd = etcd
        try:
            await asyncio.to_thread(etcd.wait)
        except BaseException:  # cancelled as well: the child must not stay
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._follow(etcd), name="etcd-end")
        return Endpoint(addrs=(etcd.endpoint,))

    async def _follow(self, etcd: EmbeddedEtcd) -> None:
        code = await etcd.child.wait_end()
        debug.error(f"etcd ended with code {code}")
        self._on_lost()

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        etcd, self._etcd = self._etcd, None
        if etcd is not None:
            await asyncio.to_thread(etcd.child.end, config.current().boot.part_stop_timeout_s)


class EtcdKernel(KernelActor):
    """Ends when its etcd does, so that boot starts another."""

    service = SERVICE

    def make_service(self, args: KernelArgs) -> KernelService:
        return MemberServer(args, on_lost=self.end)
