"""Who is to be a member of an instance's etcd: one on each of so many hosts. Pure: what is there goes in, the next step
comes out, one at a time, since each change waits for the one before.

A member that comes first learns, and has no vote: so one that does not come up costs the others nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class KnownMember(msgspec.Struct, frozen=True):
    """One member, as the cluster has it."""

    id: int
    host: str
    name: str = ""
    """Empty before it came up for the first time."""
    learns: bool = False


class AddMember(msgspec.Struct, frozen=True):
    """Take a host's etcd in, to learn first."""

    host: str


class PromoteMember(msgspec.Struct, frozen=True):
    """Give one that learns its vote."""

    member: KnownMember


class DropMember(msgspec.Struct, frozen=True):
    """Take one out."""

    member: KnownMember


Step: TypeAlias = AddMember | PromoteMember | DropMember


def next_step(
    wanted: int,
    members: Sequence[KnownMember],
    home: str,
    hosts: Sequence[str],
    gone_s: Mapping[str, float],
    without_data: frozenset[str],
    patience_s: float,
) -> Step | None:
    """What is to be done about the members; None: nothing now. ``wanted`` is odd.

    ``home``: the host whose member always stays. ``hosts``: those that are up, ``home`` among them. ``gone_s``: for how
    long hosts of members have been away. ``without_data``: hosts of members that lost what they knew: such a member
    must not come up again under its number. ``patience_s``: how long a host may be away before another takes its place.
    """
    spare = [host for host in hosts if host not in {member.host for member in members}]
    for member in members:
        if member.host == home:
            continue
        is_gone = member.host not in hosts
        if member.host in without_data or (member.learns and is_gone):
            return DropMember(member)
        if is_gone and spare and gone_s.get(member.host, 0.0) >= patience_s:
            return DropMember(member)
    learning = [member for member in members if member.learns]
    if learning:
        return PromoteMember(learning[0]) if learning[0].name else None
    surplus = [member for member in members if member.host != home]
    if len(members) > wanted and surplus:
        # Those that are away first: they are of no use.
        return DropMember(min(surplus, key=lambda member: member.host in hosts))
    # Two bear no loss, while either of them alone would bear the other's: a second one comes only with a third.
    enough = 2 if len(members) % 2 else 1
    return AddMember(spare[0]) if len(spare) >= enough and len(members) < wanted else None


def majority(members_count: int) -> int:
    """How many must be up so that anything can be written."""
    return members_count // 2 + 1
