"""Nobody leaves the tree that ux serves: neither by names, nor through links that lie in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import profiles
import pytest
import sessionmachine

from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Request
from sigmaos_ray.sigmap import OWRITE

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis import settings
    from lab import Lab
    from rawsession import RawSession

SECRET = b"what only the host may read"


def _lay_out(root: Path) -> None:
    """A file beside the tree, and links in the tree that lead to it."""
    outside = root.parent
    (outside / "secret").write_bytes(SECRET)
    (root / "t" / "way-out").symlink_to(outside)
    (root / "t" / "file-outside").symlink_to(outside / "secret")
    (root / "t" / "a").symlink_to("../..")


def _outside(root: Path) -> dict[str, bytes]:
    """All that lies beside the tree, and above it."""
    contents = {str(file): file.read_bytes() for file in root.parent.iterdir() if file.is_file()}
    return contents | {str(entry): b"" for entry in (*root.parent.iterdir(), *root.parent.parent.iterdir())}


def attack(lab: Lab, root: Path, profile: settings) -> None:
    _lay_out(root)
    before = _outside(root)

    def look(session: RawSession) -> None:
        assert _outside(root) == before
        assert not [reply for reply in session.replies.values() if SECRET in reply.SerializeToString()]

    sessionmachine.run(lab, profile, look)


def test_no_request_leaves_the_root(ux_lab: Lab, ux_root: Path) -> None:
    attack(ux_lab, ux_root, profiles.quick(12))


@pytest.mark.soak
def test_no_request_leaves_the_root_for_long(ux_lab: Lab, ux_root: Path) -> None:
    attack(ux_lab, ux_root, profiles.soak())


@pytest.mark.parametrize(
    "names",
    [
        ["way-out", "secret"],
        ["file-outside"],
        ["a", "secret"],
        ["..", "..", "secret"],
        ["../../secret"],
        ["a", "..", "x"],
    ],
)
def test_no_way_out(ux_lab: Lab, ux_root: Path, names: list[str]) -> None:
    """Neither to read what lies there, nor to write, nor to remove it."""
    _lay_out(ux_root)
    before = _outside(ux_root)

    async def ask() -> None:
        async with ux_lab.attached() as session:
            requests = (
                Request(getfile=pb.Tgetfile(fid=0, names=names, count=100, resolve=True)),
                Request(putfile=pb.Tputfile(fid=0, names=names, data=b"mine", mode=OWRITE, perm=0o777, resolve=True)),
                Request(walk=pb.Twalk(fid=0, newfid=1, names=names)),
                Request(removefile=pb.Tremovefile(fid=0, names=names, resolve=True)),
                Request(attach=pb.Tattach(fid=2, aname="/".join(["t", *names]))),
            )
            replies = [await session.call(request) for request in requests]
            assert all(SECRET not in reply.SerializeToString() for reply in replies)

    ux_lab.run(ask())
    assert _outside(ux_root) == before


def test_names_of_the_host_that_are_no_text(ux_lab: Lab, ux_root: Path) -> None:
    """Their directory can be listed; they can be read if a client can say them, and removed from the host."""
    bad = bytes(ux_root / "t") + b"/\xff\xfe"
    with open(bad, "wb") as file:
        file.write(b"x")

    async def look() -> None:
        listed = await ux_lab.canary.get_dir(ux_lab.root)
        assert "canary" in [stat.name for stat in listed]
        await ux_lab.check_alive()

    ux_lab.run(look())
