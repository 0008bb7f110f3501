"""Realms (K-10, K-11): making and removing tenants. What is wanted stands in the root realm's ``name/realm``, where
boot sees it; so realms come back with their instance."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from sigmaos_ray import config, decoding, serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.deadlines import within
from sigmaos_ray.realmclnt.terms import RealmTerms
from sigmaos_ray.sigmap import OEXCL, OWRITE, REALM, ROOT_REALM, path

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib

AGREEING: Final = ".agreeing"
"""``name/realm/<realm>.agreeing`` holds the terms that a realm is to have from now on."""
LEAVING: Final = ".leaving"
"""``name/realm/<realm>.leaving`` asks boot to end a realm."""
ROTATING: Final = ".rotating"
"""``name/realm/<realm>.rotating`` asks boot for other credentials of a realm, also of the root's."""
WITH_STATE: Final = b"with state"
"""The contents of that file, if all that the realm kept goes, too."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


class RealmRecord(msgspec.Struct, frozen=True):
    """The contents of ``name/realm/<realm>``."""

    state: Literal["wanted", "up", "failed"] = "wanted"
    why: str = ""
    """It failed."""
    terms: RealmTerms = RealmTerms()


_decode: Final = decoding.json_decoder(RealmRecord)


def is_name(name: str) -> bool:
    """Whether it can be the name of a tenant."""
    return _NAME.fullmatch(name) is not None and name != ROOT_REALM


def check_name(name: str) -> None:
    """Inval for what cannot be the name of a tenant."""
    if not is_name(name):
        raise serr.Inval(name, "a realm's name has 1 to 32 of a-z, 0-9 and -, a letter first, and is not the root's")


class AsyncRealmClnt:
    """Makes and removes realms, for a client of the root realm."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc

    def _check(self, name: str) -> None:
        check_name(name)
        if self._sc.realm != ROOT_REALM:
            raise serr.Perm(name, f"realms are made and removed from {ROOT_REALM}, not from {self._sc.realm}")

    async def make(self, name: str, timeout_s: float = LOCAL.tenants.timeout_s) -> None:
        """Returns once the realm's named and services answer. Exists; Inval for a bad name; Timeout: it is still
        wanted, and may come; Error if it cannot be started, and then nothing of it is left."""
        self._check(name)
        pathname = path.join(REALM, name)
        await self._sc.put_file(pathname, msgspec.json.encode(RealmRecord()), mode=OWRITE | OEXCL)
        async with within(timeout_s, name, "the realm is not up"):
            record = await self._settled(pathname)
        if record.state == "failed":
            await self.remove(name)
            raise serr.Error(name, record.why)

    async def _settled(self, pathname: str) -> RealmRecord:
        while True:
            record = await self._record(pathname)
            if record.state != "wanted":
                return record
            # Not by a watch: the record's contents change, and a watch tells of entries that come and go.
            await asyncio.sleep(config.current().tenants.poll_s)

    async def _record(self, pathname: str) -> RealmRecord:
        try:
            return _decode(await self._sc.get_file(pathname))
        except msgspec.DecodeError as error:
            raise serr.Error(pathname, f"does not describe a realm: {error}") from error

    async def remove(self, name: str, remove_state: bool = False, timeout_s: float = LOCAL.tenants.timeout_s) -> None:
        """Ends a realm's procs and services; returns when they are gone. What it keeps in named and ux stays, unless
        ``remove_state``. NotFound; Timeout: it still goes."""
        self._check(name)
        # For its NotFound: boot takes away a mark also where there is no such realm, which would look like an end.
        await self._sc.stat(path.join(REALM, name))
        mark = path.join(REALM, name + LEAVING)
        await self._sc.put_file(mark, WITH_STATE if remove_state else b"")
        await self._sc.wait_remove(mark, timeout_s)

    async def terms(self, name: str) -> RealmTerms:
        """What a realm is granted, and its limits. NotFound."""
        self._check(name)
        return (await self._record(path.join(REALM, name))).terms

    async def agree(self, name: str, terms: RealmTerms, timeout_s: float = LOCAL.tenants.timeout_s) -> None:
        """Gives a realm other terms; returns once its services keep to them. What is over a new limit stays, and
        nothing is added. NotFound; Inval for terms that mean nothing; Timeout: it is still asked for."""
        self._check(name)
        terms.check()
        await self._sc.stat(path.join(REALM, name))
        mark = path.join(REALM, name + AGREEING)
        await self._sc.put_file(mark, msgspec.json.encode(terms))
        await self._sc.wait_remove(mark, timeout_s)

    async def rotate(self, name: str, timeout_s: float = LOCAL.tenants.timeout_s) -> None:
        """What clients of a realm have shown until now is refused from now on, and their sessions end, this one's too
        if it is of the realm; procs and services go on. Others stand in the state directory of the instance, for
        ``sigmaos realm token``. NotFound; Timeout: it is still asked for."""
        if name != ROOT_REALM:
            self._check(name)
            await self._sc.stat(path.join(REALM, name))
        mark = path.join(REALM, name + ROTATING)
        await self._sc.put_file(mark, b"")
        try:
            await self._sc.wait_remove(mark, timeout_s)
        except (serr.Perm, serr.Closed, serr.Unreachable, serr.IOErr):
            if name != ROOT_REALM:
                raise
            # Our own session was ended by what we asked for.

    async def list(self) -> dict[str, str]:
        """The tenants and the state of each: ``wanted``, ``up``, ``failed`` or ``leaving``."""
        names = {stat.name for stat in await self._sc.get_dir(REALM)}
        states: dict[str, str] = {}
        for name in sorted(filter(is_name, names)):
            try:
                record = await self._record(path.join(REALM, name))
            except serr.NotFound:  # removed meanwhile
                continue
            states[name] = "leaving" if name + LEAVING in names else record.state
        return states
