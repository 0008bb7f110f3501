"""Any text as a name or a pathname, at every server: refused with an error that says why, or a name like any other."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import hostile
import profiles
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Request
from sigmaos_ray.sigmap import DMDIR, OEXCL, OREAD, OWRITE

if TYPE_CHECKING:
    from lab import Lab
    from rawsession import RawSession

EXAMPLES_COUNT = 40
"""Beside a server in memory; less beside others, by their pace."""

CASE_S = 60.0
"""For all requests of one example, on a busy machine; what takes longer hangs."""

any_name = st.one_of(st.sampled_from(hostile.ODD_NAMES), st.text(min_size=1, max_size=300), hostile.names)
pathnames = st.one_of(
    st.lists(hostile.names, max_size=5).map("/".join),
    st.text(max_size=100),
    st.tuples(hostile.names, st.integers(1, 400)).map(lambda drawn: "/".join([drawn[0]] * drawn[1])),
    st.integers(1, 200_000).map(lambda length: "x" * length),
)


def _moto_can_list(name: str) -> bool:
    """moto puts the name at which a listing goes on into its XML as it is, and boto3 reads no control characters
    there; S3 itself encodes it."""
    return all(sign >= " " and sign not in "\ufffe\uffff" for sign in name)


def try_names(lab: Lab, profile: settings, *, on_moto: bool = False) -> None:
    @settings(profile)
    @given(any_name.filter(_moto_can_list) if on_moto else any_name)
    @example("x" * 255)
    @example("x" * 256)
    def as_name(name: str) -> None:
        lab.run(asyncio.wait_for(_use(lab, name), CASE_S))

    as_name()
    lab.run(lab.check_clean())


async def _use(lab: Lab, name: str) -> None:
    """In a directory of its own: what was made is there, under just this name, whichever request looks."""
    directory = f"{secrets.token_hex(6)}"
    async with lab.attached() as session:
        tput = pb.Tputfile(fid=0, names=[directory, name], data=b"mine", mode=OWRITE | OEXCL, perm=0o777)
        await lab.canary.mkdir(f"{lab.root}/{directory}")
        put = await session.call(Request(putfile=tput))
        get = await session.call(Request(getfile=pb.Tgetfile(fid=0, names=[directory, name], count=100)))
        walk = await session.call(Request(walk=pb.Twalk(fid=0, newfid=1, names=[directory, name])))
        listed = [stat.name for stat in await lab.canary.get_dir(f"{lab.root}/{directory}")]
        if put.HasField("error"):
            assert put.error.msg or put.error.obj, put
            assert get.getfile.data != b"mine"
            assert not listed
        else:
            assert get.getfile.data == b"mine"
            assert len(walk.walk.qids) == 2
            assert listed == [name]
        await _others(session, directory, name)
        await lab.check_alive()
        await session.bye()


async def _others(session: RawSession, directory: str, name: str) -> None:
    """What else takes a name: each request is answered. The canary's own is left to the canary."""
    if name in ("canary", "t"):
        return
    walk = pb.Twalk(fid=0, newfid=2, names=[directory])
    for request in (
        Request(walk=walk),
        Request(create=pb.Tcreate(fid=2, name=name, perm=DMDIR | 0o777, mode=OREAD)),
        Request(clunk=pb.Tclunk(fid=2)),
        Request(walk=walk),
        Request(renameat=pb.Trenameat(old_fid=0, old_name=name, new_fid=2, new_name=name)),
        Request(removefile=pb.Tremovefile(fid=2, names=[name])),
        Request(wstat=pb.Twstat(fid=2, stat=pb.Stat(name=name))),
        Request(attach=pb.Tattach(fid=3, aname=name)),
    ):
        await session.call(request)


def try_pathnames(lab: Lab, profile: settings) -> None:
    @settings(profile)
    @given(pathnames)
    @example("../../../etc/passwd")
    @example("a\0b")
    @example("\ud800")
    def as_pathname(pathname: str) -> None:
        lab.run(asyncio.wait_for(_ask_client(lab, pathname), CASE_S))

    as_pathname()
    lab.run(lab.check_clean())


async def _ask_client(lab: Lab, pathname: str) -> None:
    """The client's own face: an error that a caller expects, or what was asked for."""
    sc, full = lab.canary, f"{lab.root}/pen/{pathname}"
    if "canary" in pathname or "~" in pathname or ".." in pathname:
        full = f"{lab.root}/no-such/{pathname.replace('canary', 'wren')}"
    try:
        await sc.put_file(full, b"mine")
        assert await sc.get_file(full) == b"mine"
        await sc.remove(full)
    except (serr.SigmaError, UnicodeEncodeError):
        await lab.check_alive()


def test_any_name(lab: Lab) -> None:
    try_names(lab, profiles.quick(lab.examples_count(EXAMPLES_COUNT)), on_moto=lab.is_on_moto)


def test_any_pathname(lab: Lab) -> None:
    lab.run(lab.canary.mkdir(f"{lab.root}/pen"))
    try_pathnames(lab, profiles.quick(lab.examples_count(EXAMPLES_COUNT)))


@pytest.mark.soak
def test_any_name_for_long(lab: Lab) -> None:
    try_names(lab, profiles.soak(), on_moto=lab.is_on_moto)


@pytest.mark.soak
def test_any_pathname_for_long(lab: Lab) -> None:
    lab.run(lab.canary.mkdir(f"{lab.root}/pen"))
    try_pathnames(lab, profiles.soak())
