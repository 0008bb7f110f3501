"""A server's gate: procs of other machines' schedds, whom it asks; and what it tells when credentials change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kernel.boot.authority import TokenAuthority
from sigmaos_ray import serr
from sigmaos_ray.auth.gate import Gate
from sigmaos_ray.auth.living import LiveTable, table_dir
from sigmaos_ray.auth.tokens import Claims, Signer, TokenKind, TokenSlot, decode, mark_of
from sigmaos_ray.machine import machine
from sigmaos_ray.sessp import eager

if TYPE_CHECKING:
    from pathlib import Path


class Schedds:
    """Of other machines: what they say, and what they were asked."""

    def __init__(self) -> None:
        self.living: set[bytes] = set()
        self.asked: list[TokenSlot] = []

    async def __call__(self, slot: TokenSlot, mark: bytes) -> bool:
        async with asyncio.timeout(5):
            self.asked.append(slot)
            await asyncio.sleep(0)
            return mark in self.living


@pytest.fixture
def authority(tmp_path: Path) -> TokenAuthority:
    made = TokenAuthority(tmp_path)
    made.admit("rootrealm")
    return made


def proc_token(authority: TokenAuthority, slot: TokenSlot) -> str:
    services = authority.of_services("rootrealm")
    signer = Signer(decode(services.issuer_seed), services.issuer)
    return signer.token(Claims(kind=TokenKind.PROC, realm="rootrealm", subject="p-1", place=slot))


async def attached(gate: Gate, token: str) -> Claims:
    """As a session has it done: the first step is in no task."""
    ended: asyncio.Future[Claims] = asyncio.get_running_loop().create_future()

    def on_end(value: Claims | None, error: BaseException | None) -> None:
        if error is not None:
            ended.set_exception(error)
        else:
            assert value is not None
            ended.set_result(value)

    def begin() -> None:
        try:
            started = eager.start(gate.check_attach(token, "rootrealm", "p-1"), on_end)
        except serr.SigmaError as error:  # before it first waited
            ended.set_exception(error)
        else:
            if isinstance(started, eager.Done):
                ended.set_result(started.value)

    asyncio.get_running_loop().call_soon(begin)
    return await ended


async def test_the_schedd_of_another_machine_is_asked(authority: TokenAuthority, tmp_path: Path) -> None:
    schedds = Schedds()
    gate = Gate(authority.trust, str(tmp_path), schedds)
    slot = TokenSlot("elsewhere", "table", 7, "192.0.2.1:1")
    token = proc_token(authority, slot)
    with pytest.raises(serr.Perm, match="has ended"):
        await attached(gate, token)
    schedds.living.add(mark_of(token))
    assert (await attached(gate, token)).subject == "p-1"
    assert schedds.asked == [slot, slot]
    gate.close()


async def test_nobody_is_asked_of_procs_of_this_machine(authority: TokenAuthority, tmp_path: Path) -> None:
    schedds = Schedds()
    gate = Gate(authority.trust, str(tmp_path), schedds)
    table = LiveTable(table_dir(str(tmp_path)))
    slot = table.take()
    token = proc_token(authority, TokenSlot(machine(), table.name, slot, ""))
    table.lives(slot, token)
    assert (await attached(gate, token)).subject == "p-1"
    table.ended(slot)
    with pytest.raises(serr.Perm, match="has ended"):
        await attached(gate, token)
    assert not schedds.asked
    table.close()
    gate.close()


async def test_without_a_way_to_ask_procs_from_elsewhere_are_refused(authority: TokenAuthority, tmp_path: Path) -> None:
    gate = Gate(authority.trust, str(tmp_path))
    with pytest.raises(serr.Perm):
        await attached(gate, proc_token(authority, TokenSlot("elsewhere", "table", 7, "192.0.2.1:1")))
    gate.close()


async def test_it_tells_when_credentials_are_revoked(authority: TokenAuthority, tmp_path: Path) -> None:
    gate = Gate(authority.trust, str(tmp_path))
    told: list[bool] = []
    gate.tell_change(lambda: told.append(True))
    gate.learn(authority.generations)
    assert not told, "nothing new"
    authority.rotate("rootrealm")
    gate.learn(authority.generations)
    assert told == [True]
    gate.close()
