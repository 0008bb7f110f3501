"""A spawn whose connection breaks: it is known what became of it, and the proc runs once or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.rpcclnt.channel import Channel

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt


def lose_spawns(monkeypatch: pytest.MonkeyPatch, *, arrives: bool) -> None:
    real = Channel.call

    async def losing(channel: Channel, method: str, *args: Any) -> bytes:
        if method != "Schedd.Spawn":
            return await real(channel, method, *args)
        if arrives:
            await real(channel, method, *args)
        raise serr.IOErr(method, "a test")

    monkeypatch.setattr(Channel, "call", losing)


def test_one_that_arrived_is_spawned(sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_spawns(monkeypatch, arrives=True)
    pid = sc.spawn(Proc(lambda argv: "ran"))
    assert sc.wait_exit(pid).data == "ran"


def test_one_that_did_not_is_told_and_not_sent_again(sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_spawns(monkeypatch, arrives=False)
    proc = Proc(lambda argv: "ran")
    with pytest.raises(serr.IOErr):
        sc.spawn(proc)
    monkeypatch.undo()
    assert proc.pid not in [info.pid for info in sc.procs()]
