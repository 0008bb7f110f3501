"""What a balancer brings about, without its servers (KV-3, KV-5)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from sigmaos_ray import serr
from user.kv.balancer import Balancer
from user.kv.config import Group, KvConfig, ShardMove
from user.kv.keys import SHARDS_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.ft.leading import Leadership
    from user.kv.fleet import Fleet


class SettlingBalancer(Balancer):
    """A balancer whose servers do at once what they are told, and that writes nowhere."""

    def __init__(self, config: KvConfig) -> None:
        self._config = config
        self._fleet = cast("Fleet", SimpleNamespace(keep=_nothing, end=_nothing))
        self._servers = {}
        self._leadership = cast("Leadership", SimpleNamespace(fence=SimpleNamespace(epoch=1)))
        self.movers: list[tuple[str, str]] = []
        self.refused: serr.SigmaError | None = None

    async def _post(self, change: Callable[[KvConfig], KvConfig]) -> None:
        self._config = change(self._config)

    async def _run_mover(self, batch: list[ShardMove]) -> None:
        if self.refused is not None:
            raise self.refused
        self.movers.append((batch[0].src, batch[0].dst))
        await self._post(lambda config: config.moved(batch))

    async def _let_go(self, group: str) -> None:
        await self._post(lambda config: config.forgotten(group))

    async def settle(self) -> KvConfig:
        await self._settle()
        return self._config


async def _nothing(*_: object) -> None:
    return


def half_moved() -> KvConfig:
    """A group leaves while a shard is on its way to it, as a balancer that died has left it."""
    groups = {"grp-0": Group(state="active"), "grp-1": Group(state="leaving")}
    return KvConfig(shards=["grp-0"] * SHARDS_COUNT, groups=groups, moves=[ShardMove(0, "grp-0", "grp-1", (1, 1))])


async def test_a_group_that_leaves_is_left_nothing() -> None:
    balancer = SettlingBalancer(half_moved())
    config = await balancer.settle()
    assert list(config.groups) == ["grp-0"]
    assert set(config.shards) == {"grp-0"}
    assert balancer.movers == [("grp-0", "grp-1"), ("grp-1", "grp-0")]


async def test_a_move_that_is_refused_is_told_as_itself() -> None:
    """And not as a group of errors, which nobody who repeats it would catch."""
    balancer = SettlingBalancer(half_moved())
    balancer.refused = serr.Inval("kv-moverd", "no such program")
    with pytest.raises(serr.Inval):
        await balancer.settle()
