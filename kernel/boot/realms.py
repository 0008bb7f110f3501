"""The tenants of an instance: what stands in the root realm's ``name/realm`` is brought up, and taken down."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.boot.keptfiles import record_removal
from kernel.boot.realmparts import RealmParts
from kernel.named import etcd as etcds
from kernel.named.keys import Keys
from sigmaos_ray import debug, decoding, realmclnt, serr
from sigmaos_ray.instance import RealmInfo, logs_dir
from sigmaos_ray.realmclnt import RealmRecord, RealmTerms
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import REALM, ROOT_REALM, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kernel.boot.authority import TokenAuthority
    from kernel.boot.placing import Place
    from kernel.service import Service
    from kernel.shell import KernelArgs, KernelCredentials
    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.machine import OsProcess

_log = debug.selector("BOOT")


_record_from: Final = decoding.json_decoder(RealmRecord)
_terms_from: Final = decoding.json_decoder(RealmTerms)


def args_of(root: KernelArgs, realm: str, credentials: KernelCredentials, terms: RealmTerms) -> KernelArgs:
    """What a tenant's services are started with: the root realm's, with logs and credentials of the tenant's own."""
    log_dir = str(logs_dir(Path(root.state_dir), realm))
    return msgspec.structs.replace(root, realm=realm, log_dir=log_dir, credentials=credentials, terms=terms)


class Realms:
    """``follow`` until it is cancelled, then ``stop`` or ``abandon``."""

    def __init__(
        self,
        root_args: Callable[[], KernelArgs],
        places: Callable[[], Sequence[Place]],
        services: Sequence[Service],
        config: Config,
        on_change: Callable[[], None],
        forget_removed: Callable[[], Awaitable[None]],
        tell_generations: Callable[[], Awaitable[None]],
        authority: Callable[[], TokenAuthority],
    ) -> None:
        """``forget_removed`` returns once every host that is there has forgotten what is on record as removed;
        ``tell_generations``, once every service knows which credentials are good."""
        self._tell_generations = tell_generations
        self._authority = authority
        self._root_args = root_args
        self._forget_removed = forget_removed
        self._places = places
        self._services = services
        self._config = config
        self._on_change = on_change
        self._realms: dict[str, RealmParts] = {}
        self._terms: dict[str, RealmTerms] = {}

    def infos(self) -> dict[str, RealmInfo]:
        """Every realm whose named was seen to serve."""
        return {name: RealmInfo(named=parts.named) for name, parts in self._realms.items() if parts.named.addrs}

    async def tell(self, method: str, what: object) -> None:
        """See ``RealmParts.tell``, of all tenants."""
        await asyncio.gather(*(parts.tell(method, what) for parts in list(self._realms.values())))

    def processes(self) -> list[OsProcess]:
        """Those of all parts that were last seen to run."""
        return [process for parts in self._realms.values() for process in parts.processes()]

    async def follow(self, env: ProcEnv) -> None:
        """Brings realms up and down as the root's ``name/realm`` says. Goes on while named is away."""
        async with AsyncSigmaClnt(env) as sc:
            while True:
                try:
                    await self._follow(sc)
                except serr.SigmaError as error:
                    _log(f"{REALM}: {error}")
                    await asyncio.sleep(self._config.boot.restart_pause_s)

    async def _follow(self, sc: AsyncSigmaClnt) -> None:
        async with sc.watch_dir(REALM) as changes:
            await self._apply(sc)
            async for _ in changes:
                await self._apply(sc)

    async def _apply(self, sc: AsyncSigmaClnt) -> None:
        # A mark beside a realm's name asks for its end, and stands until all is done: what a boot that died in the
        # middle left of it, the next one does.
        names = {stat.name for stat in await sc.get_dir(REALM)}
        for mark in [name for name in names if name.endswith(realmclnt.ROTATING)]:
            await self._rotate(sc, mark)
        for mark in [name for name in names if name.endswith(realmclnt.AGREEING)]:
            await self._agree(sc, mark)
        leaving = {name for name in names if name.endswith(realmclnt.LEAVING)}
        for mark in leaving:
            await self._remove(sc, mark)
        gone = {mark.removesuffix(realmclnt.LEAVING) for mark in leaving}
        wanted = {name for name in names - gone if realmclnt.is_name(name)}
        await asyncio.gather(*(self._add(sc, name) for name in wanted - set(self._realms)))

    async def _rotate(self, sc: AsyncSigmaClnt, mark: str) -> None:
        name = mark.removesuffix(realmclnt.ROTATING)
        if name == ROOT_REALM or name in self._realms:
            self._authority().rotate(name)
            await self._tell_generations()
        await _take_away(sc, path.join(REALM, mark))

    async def _agree(self, sc: AsyncSigmaClnt, mark: str) -> None:
        name = mark.removesuffix(realmclnt.AGREEING)
        pathname = path.join(REALM, name)
        with contextlib.suppress(serr.NotFound, msgspec.DecodeError):  # it is gone; or who asked wrote something else
            terms = _terms_from(await sc.get_file(path.join(REALM, mark)))
            record = await self._record(sc, name)
            await sc.put_file(pathname, msgspec.json.encode(msgspec.structs.replace(record, terms=terms)))
            self._terms[name] = terms
            if name in self._realms:
                await self._realms[name].tell("agree", terms)
        await _take_away(sc, path.join(REALM, mark))

    async def _record(self, sc: AsyncSigmaClnt, name: str) -> RealmRecord:
        return _record_from(await sc.get_file(path.join(REALM, name)))

    async def _add(self, sc: AsyncSigmaClnt, name: str) -> None:
        self._terms[name] = (await self._record(sc, name)).terms
        if self._authority().admit(name):
            await self._tell_generations()
        parts = self._realms[name] = RealmParts(
            lambda: args_of(self._root_args(), name, self._authority().of_services(name), self._terms[name]),
            self._services,
            1,
            self._config,
            self._on_change,
            lambda line: _log(f"realm {name}: {line}"),
        )
        try:
            await parts.start(self._places())
            record = RealmRecord(state="up", terms=self._terms[name])
        except serr.SigmaError as error:
            debug.error(f"realm {name}: {error}")
            del self._realms[name]  # it is tried again at the next change of the directory
            await parts.stop()
            record = RealmRecord(state="failed", why=str(error), terms=self._terms[name])
        self._on_change()
        await sc.put_file(path.join(REALM, name), msgspec.json.encode(record))

    async def _remove(self, sc: AsyncSigmaClnt, mark: str) -> None:
        name = mark.removesuffix(realmclnt.LEAVING)
        pathname = path.join(REALM, mark)
        remove_state = await sc.get_file(pathname) == realmclnt.WITH_STATE
        parts = self._realms.pop(name, None)
        self._terms.pop(name, None)
        if parts is not None:
            await parts.stop()
            self._authority().dismiss(name)
            await self._tell_generations()
        self._on_change()
        if remove_state:
            await self._remove_state(name)
        # The mark last: while it stands, all of this is done again after a death of this process.
        try:
            await _take_away(sc, path.join(REALM, name))
        except serr.NotFound:
            _log(f"{name} was removed before")
        await _take_away(sc, pathname)

    async def _remove_state(self, name: str) -> None:
        args = self._root_args()
        etcd = etcds.Etcd(args.etcd_endpoints, self._config.named.etcd_timeout_s, tls=args.etcd_tls)
        try:
            await etcd.transaction([], [etcds.delete_below(Keys(name).root)])
        finally:
            await etcd.close()
        await asyncio.to_thread(record_removal, Path(args.state_dir), name)
        await self._forget_removed()

    async def follow_nodes(self) -> None:
        """The nodes are others now."""
        for parts in list(self._realms.values()):
            await parts.follow_nodes(self._places())

    async def stop(self) -> None:
        """What is wanted stays in the namespace: the realms come back with the instance."""
        await asyncio.gather(*(parts.stop() for parts in self._realms.values()))

    async def abandon(self) -> None:
        """Ray is gone, and they with it."""
        for parts in self._realms.values():
            await parts.abandon()


async def _take_away(sc: AsyncSigmaClnt, pathname: str) -> None:
    """Looked at before it goes: by its name alone nothing is removed there. NotFound."""
    await sc.remove_own(pathname, await sc.get_file(pathname))
