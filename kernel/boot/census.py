"""Which kernel node each live Ray node is: asked once per node, by a task on it, and kept while the node lives."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.boot import certificates, keptfiles, survey
from kernel.boot.aside import aside
from kernel.boot.identity import Identity, Survey, identify
from kernel.boot.placing import Place, is_loopback, why_unfit
from sigmaos_ray import debug, serr
from sigmaos_ray.machine import OsProcess, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sigmaos_ray.config import Config

P = ParamSpec("P")
T = TypeVar("T")

_log = debug.selector("BOOT")


class _Failure(NamedTuple):
    cause: str
    again_s: float
    """On the steady clock."""


class Census:
    """``look`` at the nodes from time to time; ``close`` it. Used from one loop."""

    def __init__(
        self,
        state_dir: Path,
        home: str,
        host: str,
        config: Config,
        given: certificates.Certificates | None = None,
        credentials: bytes = b"",
    ) -> None:
        """``home``: Ray's id of the node beside this process, whose services bind ``host``. ``given``: each host is to
        have one of these, before anything runs there. ``credentials``: what clients on other hosts show."""
        self._given = given
        self._credentials = credentials
        self._state_dir = state_dir
        self._home = home
        self._host = host
        self._config = config
        self._identities: dict[str, Identity] = {}
        self._addresses: dict[str, str] = {}
        """Of the nodes that live."""
        self._raylets: dict[str, OsProcess] = {}
        self._surveys: dict[str, asyncio.Task[Survey]] = {}
        self._failures: dict[str, _Failure] = {}
        self._looking = asyncio.Lock()
        self._gone: set[str] = set()
        """What Ray takes for alive though its raylet has ended."""

    async def look(self, alive: Mapping[str, str], wait_s: float = 0.0, *, of_home: bool = False) -> list[Place]:
        """The nodes of these, Ray's ids with their addresses, of which it is known by now who they are, or why not: our
        own first. Waits so long for those that are asked, or only for our own."""
        async with self._looking:
            self._forget(alive)
            self._survey(alive)
            asked = [survey for node, survey in self._surveys.items() if node == self._home or not of_home]
            if asked and wait_s:
                await asyncio.wait(asked, timeout=wait_s)
            await self._identify()
        nodes = sorted(self._identities.keys() | self._failures.keys(), key=lambda node: (node != self._home, node))
        return [self._place(node, alive[node]) for node in nodes if node in alive]

    def _forget(self, alive: Mapping[str, str]) -> None:
        self._gone &= alive.keys()
        if self._given is not None:
            self._given.forget(self._addresses.keys() - alive.keys())
        self._addresses = dict(alive)
        for node in self._surveys.keys() - alive.keys():
            self._surveys.pop(node).cancel()
        for table in (self._identities, self._raylets, self._failures):
            for node in [node for node in table if node not in alive or node in self._gone]:
                del table[node]

    def _survey(self, alive: Mapping[str, str]) -> None:
        now_s = time.monotonic()
        for node in alive.keys() - self._identities.keys() - self._surveys.keys() - self._gone:
            failure = self._failures.get(node)
            if failure is None or failure.again_s < now_s:
                task = asyncio.create_task(self._look(node, alive[node]), name=f"survey-{node[:8]}")
                self._surveys[node] = task

    async def _look(self, node: str, address: str) -> Survey:
        recorded = await asyncio.to_thread(keptfiles.record, self._state_dir)
        # Ray brings them, which is why it is to be closed itself (docs/security.md).
        credentials = b"" if node == self._home else self._credentials
        others = {other: raylet for other, raylet in self._raylets.items() if other != node}
        certified = self._certified(node, address) if self._given is not None else ()
        return await self._on(node, survey.look, str(self._state_dir), recorded, others, certified, credentials)

    def _certified(self, node: str, address: str) -> tuple[str, ...]:
        """Where others know a node."""
        return (address, self._host) if node == self._home else (address,)

    async def _certify(self, node: str, request_pem: bytes) -> None:
        given = self._given
        if given is None:
            return
        certificate_pem = await asyncio.to_thread(given.issue, node, request_pem)
        await self._on(node, certificates.keep, str(self._state_dir), given.authority_pem, certificate_pem)

    async def keep_certified(self) -> None:
        """Renews certificates while hosts are there, until it is cancelled."""
        while self._given is not None:
            await asyncio.sleep(self._config.certificates.renew_poll_s)
            for node in self._given.due():
                await self._renew(node)

    async def _renew(self, node: str) -> None:
        address = self._addresses.get(node)
        if address is None:
            return
        try:
            request = await self._on(
                node, certificates.request_of, str(self._state_dir), self._certified(node, address)
            )
            await self._certify(node, request)
            _log(f"{node}: its certificate is renewed")
        except (serr.SigmaError, OSError) as error:
            debug.error(f"node {node}: its certificate is not renewed: {error}")

    async def _on(self, node: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, on the host of that node. Error with the cause if it fails or takes too long."""
        if node == self._home:  # no worker needs to start for it
            return await aside(call, *args, **kwargs)
        timeout_s = self._config.boot.survey_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                result: T = await asyncio.wrap_future((await aside(_submit, node, call, args)).future())
                return result
        except TimeoutError as error:
            raise serr.Timeout(node, f"Ray has run no task there within {timeout_s:.0f} s") from error
        except (ray.exceptions.RayError, RuntimeError, ValueError) as error:
            cause = getattr(error, "cause", None) or error
            raise serr.Error(node, f"{type(cause).__name__}: {str(cause).strip().splitlines()[-1]}") from error

    async def _identify(self) -> None:
        """Takes what surveys have found. An id that is new is kept on its host before it is used."""
        found: dict[str, Survey] = {}
        for node in [node for node, task in self._surveys.items() if task.done()]:
            task = self._surveys.pop(node)
            with self._noting_failures(node):
                found[node] = task.result()
        for survey_ in found.values():
            self._drop(survey_.gone)
        identities = identify(found, self._identities, self._home, _new_kernel_id)
        for node, identity in identities.items():
            with self._noting_failures(node):
                if found[node].kernel_ids.get(identity.number) != identity.kernel_id:
                    await self._on(node, survey.keep, str(self._state_dir), identity.number, identity.kernel_id)
                await self._certify(node, found[node].certificate_request)
                self._identities[node] = identity
                self._failures.pop(node, None)
                self._note(node, found[node])

    def _drop(self, gone: tuple[str, ...]) -> None:
        for node in gone:
            _log(f"the raylet of {node} has ended, though Ray takes it for alive")
            self._gone.add(node)
            self._identities.pop(node, None)
            self._raylets.pop(node, None)

    def _note(self, node: str, found: Survey) -> None:
        if node != self._home and found.raylet is not None:
            self._raylets[node] = found.raylet

    @contextlib.contextmanager
    def _noting_failures(self, node: str) -> Iterator[None]:
        try:
            yield
        except (serr.SigmaError, OSError) as error:
            debug.error(f"node {node}: {error}")
            self._failures[node] = _Failure(str(error), time.monotonic() + self._config.boot.survey_pause_s)

    @contextlib.contextmanager
    def _noting_trouble(self, node: str) -> Iterator[None]:
        try:
            yield
        except (serr.SigmaError, OSError) as error:
            debug.error(f"node {node} has no new credentials: {error}")

    def _place(self, node: str, address: str) -> Place:
        identity = self._identities.get(node)
        if identity is None:
            return Place(node, "", address, unfit=self._failures[node].cause)
        is_beside = identity.machine == machine()
        host = self._host if node == self._home or (is_beside and is_loopback(self._host)) else address
        unfit = why_unfit(self._host, is_beside)
        return Place(node, identity.kernel_id, host, identity.number, identity.machine, unfit)

    async def forget_removed(self) -> None:
        """Returns once every host that is there has forgotten what is on record as removed. Error if one does not."""
        recorded = await asyncio.to_thread(keptfiles.record, self._state_dir)
        of_machines = {identity.machine: node for node, identity in self._identities.items()}
        forgetting = (self._on(node, survey.forget, str(self._state_dir), recorded) for node in of_machines.values())
        await asyncio.gather(*forgetting)

    async def keep_credentials(self, credentials: bytes) -> None:
        """Clients on other hosts show these from now on. A host that does not answer gets them when it is looked at
        anew."""
        self._credentials = credentials
        for node in [node for node in self._identities if node != self._home]:
            with self._noting_trouble(node):
                await self._on(node, survey.keep_credentials, str(self._state_dir), credentials)

    async def close(self) -> None:
        """Asks no more."""
        for task in self._surveys.values():
            task.cancel()
        if self._surveys:
            await asyncio.wait(self._surveys.values())
        self._surveys.clear()


def _submit(node: str, call: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_retries": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    return ray.remote(call).options(**options).remote(*args)


def _new_kernel_id() -> str:
    return f"sigma-{secrets.token_hex(4)}"
