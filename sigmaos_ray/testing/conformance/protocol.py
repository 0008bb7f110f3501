"""The messages themselves (P-3): walks, fids, and requests that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.pb.sessp_pb2 import Request
from sigmaos_ray.sigmap import DMDIR, OREAD, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.fslib.fidclnt import RemoteFid


class ProtocolTests(Suite):
    """What a server answers to fids and walks, below the client's own care."""

    @pytest.fixture
    async def here(self, tree: Tree) -> AsyncIterator[RemoteFid]:
        """A fid of the directory, not open."""
        opened = await tree.sc.core.open_fid(tree.root, OREAD)
        fid, _ = await opened.walk([])
        await opened.clunk()
        yield fid
        await fid.clunk_quietly()

    async def test_walks(self, tree: Tree, here: RemoteFid) -> None:
        """P-3, N-7: one qid per component; no component is a clone; a part of the way is told as such."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/f", b"x")
        for names, kinds in ((["d", "e"], [True, True]), (["d", "f"], [True, False]), ([], []), (["d", "no"], [True])):
            end, qids = await here.walk(names)
            assert [qid.is_dir for qid in qids] == kinds
            await end.clunk()

    async def test_walks_that_fail(self, tree: Tree, here: RemoteFid) -> None:
        """N-7: the first component missing is NotFound with its name; through a file NotDir."""
        await tree.sc.put_file(tree / "f", b"x")
        with pytest.raises(serr.NotFound) as refusal:
            await here.walk(["no", "x"])
        assert refusal.value.obj == "no"
        with pytest.raises(serr.NotDir):
            await here.walk(["f", "x"])

    async def test_a_walk_stops_before_a_union(self, tree: Tree, here: RemoteFid) -> None:
        """N-7: before a component ``~any`` or ``~local``, without error."""
        await tree.sc.mkdir(tree / "d")
        end, qids = await here.walk(["d", "~any", "x"])
        assert len(qids) == 1
        await end.clunk()

    async def test_fids_that_are_taken_or_unknown(self, tree: Tree, here: RemoteFid) -> None:
        """P-3, P-14: newfid in use is Exists; a fid that is not known is Unknownfid."""
        clone, _ = await here.walk([])
        with pytest.raises(serr.Exists):
            await here._call(Request(walk=pb.Twalk(fid=here.number, newfid=clone.number, names=[])))
        await clone.clunk()
        for request in (
            Request(clunk=pb.Tclunk(fid=clone.number)),
            Request(walk=pb.Twalk(fid=clone.number, newfid=clone.number + 100_000, names=[])),
            Request(open=pb.Topen(fid=clone.number, mode=OREAD)),
            Request(read=pb.Tread(fid=clone.number, offset=0, count=1)),
            Request(stat=pb.Tstat(fid=clone.number)),
            Request(remove=pb.Tremove(fid=clone.number)),
            Request(getfile=pb.Tgetfile(fid=clone.number, mode=OREAD, count=1, names=["f"])),
        ):
            with pytest.raises(serr.UnknownFid):
                await here._call(request)

    async def test_a_fid_moves(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: newfid of a walk may be the fid itself, which then stands for what was reached."""
        await tree.sc.mkdir(tree / "d")
        clone, _ = await here.walk([])
        await here._call(Request(walk=pb.Twalk(fid=clone.number, newfid=clone.number, names=["d"])))
        assert (await clone.stat()).name == "d"
        await clone.clunk()

    async def test_a_fid_is_opened_once(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: once; reading and writing need an open fid."""
        await tree.sc.put_file(tree / "f", b"x")
        file, _ = await here.walk(["f"])
        with pytest.raises(serr.Inval):
            await file.read(0, 1)
        with pytest.raises(serr.SigmaError):
            await file.write(0, b"y")
        await file.open(OREAD)
        with pytest.raises(serr.Inval):
            await file.open(OREAD)
        assert await file.read(0, 1) == b"x"
        await file.clunk()
        assert await tree.sc.get_file(tree / "f") == b"x"

    async def test_create_turns_the_fid_into_the_new_file(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: and opens it; "." is Inval; in a file NotDir; and a failure leaves the fid as it was."""
        await tree.sc.put_file(tree / "f", b"")
        file, _ = await here.walk(["f"])
        with pytest.raises(serr.NotDir):
            await file.create("x", 0o777, OWRITE)
        await file.clunk()
        fid, _ = await here.walk([])
        for bad in (".", "..", "", "a/b"):
            with pytest.raises(serr.Inval):
                await fid.create(bad, 0o777, OWRITE)
        with pytest.raises(serr.Exists):
            await fid.create("f", 0o777, OWRITE)
        await fid.create("g", 0o777, OWRITE)
        if tree.can.writes_in_place:
            assert (await fid.stat()).name == "g"
        await fid.write(0, b"data")
        await fid.clunk()
        assert await tree.sc.get_file(tree / "g") == b"data"

    async def test_a_created_directory(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: the fid is the new directory, open for reading."""
        fid, _ = await here.walk([])
        qid = await fid.create("d", DMDIR | 0o777, OREAD)
        assert qid.is_dir
        assert await fid.read(0, 10_000) == b""
        await fid.clunk()

    async def test_remove_takes_the_fid_too(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: it is clunked even on error."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"")
        full, _ = await here.walk(["d"])
        with pytest.raises(serr.NotEmpty):
            await full.remove()
        with pytest.raises(serr.UnknownFid):
            await full.clunk()
        file, _ = await here.walk(["d", "f"])
        await file.remove()
        with pytest.raises(serr.UnknownFid):
            await file.stat()
        assert await tree.names("d") == []

    async def test_what_is_not_authenticated(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: auth is always NotSupported; version is accepted, not negotiated."""
        with pytest.raises(serr.NotSupported):
            await here._call(Request(auth=pb.Tauth()))
        reply = await here._call(Request(version=pb.Tversion(msize=8192, version="9P2000")))
        assert reply.version.version == "9P2000"

    async def test_attaches(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: to the root or to a subtree; a missing one is NotFound, a fid in use Exists."""
        with pytest.raises((serr.NotFound, serr.BadAttach)):
            await here._call(Request(attach=pb.Tattach(fid=here.number + 100_000, aname="no/such/dir", client_id=1)))
        with pytest.raises(serr.Exists):
            await here._call(Request(attach=pb.Tattach(fid=here.number, aname="", client_id=1)))

    async def test_a_request_that_is_none(self, tree: Tree, here: RemoteFid) -> None:
        """P-3: UnknownMsg; the session goes on."""
        with pytest.raises(serr.UnknownMsg):
            await here._call(Request())
        assert await tree.names() == []

    async def test_calls_on_what_is_no_device(self, tree: Tree) -> None:
        """R-3: NotSupported."""
        await tree.sc.put_file(tree / "f", b"x")
        fd = await tree.sc.open(tree / "f", OWRITE)
        with pytest.raises(serr.NotSupported):
            await tree.sc.write_read(fd, [b"x"])
        await tree.sc.close_fd(fd)
