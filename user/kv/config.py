"""Who has which shard, and what is to move where: the file that the balancer writes and clerks follow. Pure.

It says what is to be brought about, not only what is: groups that join or leave, and moves that are not known to have
ended. So a balancer that takes over goes on from the file alone. Until a move has ended its shard is at its source or
at its destination, and a clerk asks both.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.ft.sharding import spread
from user.kv.changes import Number
from user.kv.keys import SHARDS_COUNT
from user.kv.paths import group_number
from user.kv.tuning import BALANCER, MONITOR, MonitorTuning

JOINING: Final = "joining"
ACTIVE: Final = "active"
LEAVING: Final = "leaving"
NOBODY: Final = ""


class Group(msgspec.Struct, frozen=True):
    """A server of shards, with those that stand by for it."""

    members: int = 1
    """So many procs, and copies of what was written, if there are as many nodes."""
    state: Literal["joining", "active", "leaving"] = "joining"


class ShardMove(msgspec.Struct, frozen=True):
    """One shard is to go from a group to another one."""

    shard: int
    src: str
    dst: str
    number: Number
    """Of the configuration that planned it."""


class Auto(msgspec.Struct, frozen=True):
    """Groups come and go by load, between 1 and ``groups_max``; 0: only when asked. ``members``: of each new one."""

    groups_max: int = 0
    members: int = 1


class KvConfig(msgspec.Struct, frozen=True):
    """One configuration. ``epoch`` is that of the balancer that wrote it, ``seqno`` counts configurations."""

    epoch: int = 0
    seqno: int = 0
    shards: Annotated[list[str], msgspec.Meta(min_length=SHARDS_COUNT, max_length=SHARDS_COUNT)] = msgspec.field(
        default_factory=lambda: [NOBODY] * SHARDS_COUNT
    )
    """Per shard: the group that has it, or had it before its move."""
    groups: dict[str, Group] = {}
    moves: list[ShardMove] = []
    auto: Auto = Auto()
    mcpu: float = BALANCER.server_mcpu
    """Which each server reserves."""

    def __post_init__(self) -> None:
        # A ValueError, of which msgspec makes its own while it decodes: ``decode`` says Inval.
        for shard, group in enumerate(self.shards):
            if group != NOBODY and group not in self.groups:
                raise ValueError(f"shard {shard} is at {group}, which is no group")

    # -- what is

    def of_state(self, *states: str) -> list[str]:
        """The groups of some states, in order of their numbers."""
        return sorted((name for name, group in self.groups.items() if group.state in states), key=group_number)

    def destinations(self) -> list[str]:
        """Per shard: the group that has it once all moves ended."""
        owners = list(self.shards)
        for move in self.moves:
            owners[move.shard] = move.dst
        return owners

    def next_number(self) -> int:
        """The lowest number that no group has."""
        # There is one: so many groups cannot have one number more.
        return next(number for number in range(len(self.groups) + 1) if f"grp-{number}" not in self.groups)

    def where(self, shard: int) -> list[str]:
        """The groups that may have a shard: where it is, or was before its move, and where it goes."""
        # The source first: of the shards that are to move most have not begun to.
        sources = [self.shards[shard]] if self.shards[shard] != NOBODY else []
        return sources + [move.dst for move in self.moves if move.shard == shard]

    # -- what is to be. Each returns this configuration itself if there is nothing to change.

    def with_group(self, name: str, group: Group) -> KvConfig:
        """With a group that joins. Inval for what is no name of a group; Retry while one of that name is leaving: its
        procs and copies must be gone before it can begin anew."""
        group_number(name)
        present = self.groups.get(name)
        if present is None:
            return msgspec.structs.replace(self, groups={**self.groups, name: group})
        if present.state == LEAVING:
            raise serr.Retry(name, "is leaving")
        return self

    def without_group(self, name: str) -> KvConfig:
        """With a group that is to leave. Inval for the last one."""
        group = self.groups.get(name)
        if group is None or group.state == LEAVING:
            return self
        if self.of_state(JOINING, ACTIVE) == [name]:
            raise serr.Inval(name, "the last server cannot be removed; stop the store instead")
        return self._with_state(name, LEAVING)

    def activated(self, name: str) -> KvConfig:
        """With a group that serves now. The first one has all shards, which were created there."""
        config = self._with_state(name, ACTIVE)
        if all(group == NOBODY for group in config.shards):
            return msgspec.structs.replace(config, shards=[name] * SHARDS_COUNT)
        return config

    def _with_state(self, name: str, state: Literal["joining", "active", "leaving"]) -> KvConfig:
        group = msgspec.structs.replace(self.groups[name], state=state)
        return msgspec.structs.replace(self, groups={**self.groups, name: group})

    def planned(self, number: Number) -> KvConfig:
        """With the moves that give each active group its share, and leaving ones nothing. Shards that move already go
        where they go: a move cannot be taken back, as it may have ended."""
        moving = {move.shard for move in self.moves}
        targets = spread(self.destinations(), self.of_state(ACTIVE), moving)
        moves = [
            ShardMove(shard, self.shards[shard], target, number)
            for shard, target in enumerate(targets)
            if shard not in moving and target != self.shards[shard]
        ]
        return msgspec.structs.replace(self, moves=self.moves + moves) if moves else self

    def moved(self, done: list[ShardMove]) -> KvConfig:
        """After some moves ended."""
        shards = list(self.shards)
        for move in done:
            shards[move.shard] = move.dst
        unfinished = [move for move in self.moves if move not in done]
        return msgspec.structs.replace(self, shards=shards, moves=unfinished)

    def forgotten(self, name: str) -> KvConfig:
        """Without a group that has left."""
        groups = {each: group for each, group in self.groups.items() if each != name}
        return msgspec.structs.replace(self, groups=groups)


def scaled(utilization: dict[str, float], auto: Auto, tuning: MonitorTuning = MONITOR) -> tuple[str, str] | None:
    """What the load asks for (KV-10): ``("add", "")`` if the groups use much of a core each, on average; ``("remove",
    group)``, the idlest one, if they use little; None: nothing. ``utilization``: of each group, the part of a core."""
    if not auto.groups_max or not utilization:
        return None
    average = sum(utilization.values()) / len(utilization)
    if average >= tuning.busy_min and len(utilization) < auto.groups_max:
        return "add", ""
    if average < tuning.idle_max and len(utilization) > 1:
        # Of several the one with the highest number: new groups take the lowest that is free.
        return "remove", min(utilization, key=lambda group: (utilization[group], -group_number(group)))
    return None


_decode: Final = decoding.json_decoder(KvConfig)


def decode(data: bytes, pn: str) -> KvConfig:
    """A configuration as its file ``pn`` has it. Inval for what is none."""
    try:
        return _decode(data)
    except msgspec.DecodeError as error:
        raise serr.Inval(pn, f"no configuration of a kv store: {error}") from error


def encode(config: KvConfig) -> bytes:
    """As ``decode`` takes it."""
    return msgspec.json.encode(config)
