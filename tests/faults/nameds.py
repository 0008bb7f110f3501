"""Several nameds of one realm as child processes on one etcd, and the state file that tells clients who leads: what
boot does, without Ray, so that nameds are cheap to kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
from cutter import Cutter
from named_process import NamedRequest

from kernel.named.election import Candidate, follow_candidates
from kernel.shell import KernelArgs
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.instance import STATE_FILE_NAME, Instance
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from sigmaos_ray.fslib.fidclnt import RemoteFid

WITHIN_S = 60.0
"""For what must come at all: a bound, not a measure."""
LEASE_S = 2
"""The least that etcd grants."""


class NamedChild:
    """One named's process."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, link: Cutter) -> None:
        self.process = process
        self.address = address
        self.link = link
        """Its way to etcd."""

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def cut_off(self) -> None:
        self.link.down = True
        self.link.cut()

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.link.__aexit__()


class Nameds:
    """An async context manager: in the block, ``count`` nameds stand and one of them leads."""

    def __init__(
        self,
        etcd_endpoint: str,
        directory: Path,
        count: int = 2,
        *,
        stays: bool = False,
        cuttable: bool = True,
        environ: dict[str, str] | None = None,
        lease_s: int = LEASE_S,
    ) -> None:
        """``cuttable`` puts a proxy on this loop between them and etcd. ``stays``: a deposed leader goes on.
        ``environ`` adds to their environment."""
        self.realm = f"f{secrets.token_hex(4)}"
        self.state_file = directory / STATE_FILE_NAME
        self._etcd_endpoint = etcd_endpoint
        self._count = count
        self._stays = stays
        self._cuttable = cuttable
        self._lease_s = lease_s
        self._environ = os.environ | (environ or {})
        self._stack = contextlib.AsyncExitStack()
        self._changed = asyncio.Condition()
        self._candidates: list[Candidate] = []
        self._follower: asyncio.Task[None] | None = None
        self.children: list[NamedChild] = []

    async def __aenter__(self) -> Self:
        self._follower = asyncio.create_task(self._follow(), name="candidates")
        await asyncio.gather(*(self.add() for _ in range(self._count)))
        await self.leader()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._follower is not None
        self._follower.cancel()
        await asyncio.wait({self._follower})
        await self._stack.aclose()
        await asyncio.gather(*(child.end() for child in self.children))
        await close_channels()

    async def add(self) -> NamedChild:
        """One more named; returns once it stands."""
        link = await Cutter(self._etcd_endpoint).__aenter__()
        kernel_id = f"sigma-{secrets.token_hex(4)}"
        endpoint = link.address if self._cuttable else self._etcd_endpoint
        args = KernelArgs(kernel_id=kernel_id, realm=self.realm, etcd_endpoints=(endpoint,))
        request = NamedRequest(args=args, election_ttl_s=self._lease_s, etcd_timeout_s=0.5, stays=self._stays)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("named_process.py")),
            msgspec.json.encode(request).decode(),
            stdout=asyncio.subprocess.PIPE,
            env=self._environ,
        )
        assert process.stdout is not None
        address = (await asyncio.wait_for(process.stdout.readline(), WITHIN_S)).decode().strip()
        if not address:
            await link.__aexit__()
        assert address, "a named did not start"
        child = NamedChild(process, address, link)
        self.children.append(child)
        return child

    async def replace(self, child: NamedChild) -> None:
        """What boot does when a named died."""
        self.children.remove(child)
        await child.end()
        await self.add()

    async def _follow(self) -> None:
        async with contextlib.aclosing(follow_candidates([self._etcd_endpoint], self.realm)) as changes:
            async for candidates in changes:
                async with self._changed:
                    self._candidates = candidates
                    if candidates and candidates[0].serves:
                        self._write_state(candidates[0].endpoint)
                    self._changed.notify_all()

    def _write_state(self, endpoint: Endpoint) -> None:
        instance = Instance(realm=self.realm, state_dir=str(self.state_file.parent), boot_pid=0, named=endpoint)
        temporary = self.state_file.with_suffix(".new")
        temporary.write_bytes(instance.to_json())
        temporary.replace(self.state_file)

    async def until(self, holds: Callable[[list[Candidate]], bool]) -> list[Candidate]:
        """Waits until the candidates in etcd, the leader first, are as wanted."""
        async with asyncio.timeout(WITHIN_S), self._changed:
            await self._changed.wait_for(lambda: holds(self._candidates))
            return self._candidates

    async def leader(self, other_than: NamedChild | None = None) -> NamedChild:
        """The one that leads and serves, once it does."""
        children = {child.address: child for child in self.children if child is not other_than}

        def holds(candidates: list[Candidate]) -> bool:
            return bool(candidates) and candidates[0].serves and candidates[0].endpoint.addrs[0] in children

        return children[(await self.until(holds))[0].endpoint.addrs[0]]

    async def clnt(self, *named: NamedChild) -> AsyncSigmaClnt:
        """A client that finds the leader; or one that knows these nameds and nothing of the others."""
        if named:
            addrs = tuple(child.address for child in named)
            env = ProcEnv(pid="test", realm=self.realm, named=Endpoint(addrs=addrs))
        else:
            env = ProcEnv(pid="test", realm=self.realm, state_file=str(self.state_file))
        clnt = await self._stack.enter_async_context(AsyncSigmaClnt(env))
        if named:
            _make_deaf(clnt)
        return clnt


def _make_deaf(clnt: AsyncSigmaClnt) -> None:
    """It does not hear from those that it knows who stands by."""
    fids = clnt.core.fids
    attach = fids.attach

    async def attach_deaf(*args: Any, **options: Any) -> RemoteFid:
        fid = await attach(*args, **options)
        fid.standbys = ()
        return fid

    fids.attach = attach_deaf  # type: ignore[method-assign]
