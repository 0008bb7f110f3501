"""Which hosts have a member of etcd: it grows, shrinks and is mended in steps that keep it writable."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel.boot.membership import AddMember, DropMember, KnownMember, PromoteMember, Step, majority, next_step

PATIENCE_S = 60.0
A, B, C = (KnownMember(number, f"h{number}", f"m{number}") for number in (1, 2, 3))


def step(wanted: int, members: list[KnownMember], hosts: list[str], **known: Any) -> Step | None:
    gone_s = known.get("gone_s", {})
    return next_step(wanted, members, "h1", hosts, gone_s, frozenset(known.get("without_data", ())), PATIENCE_S)


def test_it_grows_as_hosts_come() -> None:
    assert step(3, [A], ["h1"]) is None
    assert step(3, [A], ["h1", "h2", "h3"]) == AddMember("h2")
    assert step(3, [A], ["h1", "h2"]) is None, "two bear less than one"
    assert step(3, [A, B], ["h1", "h2"]) is None
    assert step(3, [A, B], ["h1", "h2", "h3"]) == AddMember("h3")
    assert step(3, [A, B, C], ["h1", "h2", "h3", "h4"]) is None
    assert step(1, [A], ["h1", "h2", "h3"]) is None


def test_one_that_learns_gets_its_vote_before_the_next_comes() -> None:
    waits = KnownMember(2, "h2", learns=True)
    up = KnownMember(2, "h2", "m2", learns=True)
    assert step(3, [A, waits], ["h1", "h2", "h3"]) is None
    assert step(3, [A, up], ["h1", "h2", "h3"]) == PromoteMember(up)
    assert step(3, [A, up], ["h1", "h3"]) == DropMember(up)


def test_a_host_that_is_away_is_waited_for_and_replaced_by_another() -> None:
    hosts = ["h1", "h2", "h4"]
    assert step(3, [A, B, C], ["h1", "h2"], gone_s={"h3": 9999.0}) is None
    assert step(3, [A, B, C], hosts, gone_s={"h3": PATIENCE_S / 2}) is None
    assert step(3, [A, B, C], hosts, gone_s={"h3": PATIENCE_S}) == DropMember(C)
    assert step(3, [A, B], hosts) == AddMember("h4")


def test_a_member_that_lost_its_data_comes_as_a_new_one() -> None:
    assert step(3, [A, B, C], ["h1", "h2", "h3"], without_data={"h2"}) == DropMember(B)


def test_it_shrinks() -> None:
    assert step(1, [A, B, C], ["h1", "h2"]) == DropMember(C)
    assert step(1, [A, B], ["h1", "h2"]) == DropMember(B)


def test_majorities() -> None:
    assert [majority(count) for count in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]


@given(st.sampled_from([1, 3, 5]), st.integers(1, 6), st.integers(0, 5))
def test_it_settles_at_what_is_wanted_and_home_stays(wanted: int, hosts_count: int, members_count: int) -> None:
    hosts = [f"h{number}" for number in range(1, hosts_count + 1)]
    members = [A, *(KnownMember(number, f"h{number}", "up") for number in range(2, members_count + 2))]
    for _ in range(100):
        match step(wanted, members, hosts, gone_s=dict.fromkeys((member.host for member in members), PATIENCE_S)):
            case AddMember(host):
                members.append(KnownMember(len(members) + 10, host, "up", learns=True))
            case PromoteMember(member):
                members[members.index(member)] = KnownMember(member.id, member.host, member.name)
            case DropMember(member):
                members.remove(member)
            case None:
                break
    else:
        raise AssertionError("it goes on and on")
    assert members[0] == A
    assert not any(member.learns for member in members)
    assert len(members) <= wanted
    up = [member for member in members if member.host in hosts]
    assert min(wanted, len(hosts)) - len(up) <= 1, "at most one is waited for, with which another would come"
