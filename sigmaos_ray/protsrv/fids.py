"""Fids: the numbers by which a client holds a server's objects (P-14). One table per session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile
from sigmaos_ray.sigmap import OACCESS_MASK, ORDWR, OWRITE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from sigmaos_ray.protsrv.watch import ServedWatch
    from sigmaos_ray.rpcsrv import Caller
    from sigmaos_ray.sigmap import Mode


class Fid:
    """One fid: a node, and what is open on it. Its session owns it, and closes ``file`` when it is freed."""

    __slots__ = (
        "caller",
        "dir_cursor",
        "file",
        "is_freed",
        "mode",
        "name",
        "node",
        "opening",
        "parent",
        "version",
        "watch",
    )

    def __init__(self, node: Node, caller: Caller, parent: Dir | None = None) -> None:
        self.node = node
        self.caller = caller
        self.version = node.qid().version
        """The node's version when the fid came to it or was opened: watches start from it (W-3)."""
        self.mode: Mode | None = None
        """None: not open."""
        self.file: OpenFile | None = None
        self.opening: asyncio.Future[OpenFile] | None = None
        """An open that waits for somebody else; freeing the fid cancels it."""
        self.is_freed = False
        """True once it is clunked: a request that held it before it waited must not put anything on it."""
        self.dir_cursor: str = ""
        """A directory that is read: the last name returned."""
        self.watch: ServedWatch | None = None
        self.parent = parent
        """The directory that a walk found the node in; None at the root of an attach."""
        self.name = node.name
        """What the node was called there, whatever it is called by now."""

    def at_end_of(self, way: Sequence[Node]) -> Fid:
        """A new fid for where a walk from this one led; of a walk that made no step (a clone), for the same place."""
        if not way or way[-1] is self.node:
            return Fid(self.node, self.caller, self.parent)
        way = [node for node, before in zip(way, [self.node, *way[:-1]], strict=True) if node is not before]
        above = way[-2] if len(way) > 1 else self.node
        return Fid(way[-1], self.caller, above if isinstance(above, Dir) else None)

    @property
    def is_open(self) -> bool:
        return self.mode is not None

    def open_file(self) -> OpenFile:
        """What is open on it. NotFile for a directory, Inval for what is not open."""
        if self.file is None:
            raise (
                serr.NotFile(self.node.name) if self.node.is_dir else serr.Inval(self.node.name, "the fid is not open")
            )
        return self.file

    def open_to_write(self) -> tuple[OpenFile, Mode]:
        """What is open on it, and how. NoWrite for a watch, Perm for what is open for reading only."""
        if self.watch is not None:
            raise serr.NoWrite(self.node.name, "a watch is read only")
        file, mode = self.open_file(), self.mode or 0
        if mode & OACCESS_MASK not in (OWRITE, ORDWR):
            raise serr.Perm(self.node.name, "open for reading only")
        return file, mode


class FidTable:
    """The fids of one session by number, at most ``fids_max``. Numbers are the client's choice."""

    def __init__(self, fids_max: int) -> None:
        self._fids: dict[int, Fid] = {}
        self._fids_max = fids_max

    def get(self, number: int) -> Fid:
        """UnknownFid if there is none."""
        fid = self._fids.get(number)
        if fid is None:
            raise serr.UnknownFid(number)
        return fid

    def find(self, number: int) -> Fid | None:
        """None if there is none."""
        return self._fids.get(number)

    def has(self, number: int, fid: Fid) -> bool:
        """True while that number still stands for that fid. To be asked after each wait: the client may have clunked
        it, and used its number again, while a request on it waited."""
        return self._fids.get(number) is fid

    def check_free(self, number: int) -> None:
        """Exists if the number is taken, Inval if the session has all fids that it may have."""
        if number in self._fids:
            raise serr.Exists(f"fid {number}")
        if len(self._fids) >= self._fids_max:
            raise serr.Inval(f"fid {number}", f"a session has at most {self._fids_max} fids")

    def add(self, number: int, fid: Fid) -> None:
        """Raises as ``check_free``, which a request asked before it waited: the number may be taken by now."""
        self.check_free(number)
        self._fids[number] = fid

    def replace(self, number: int, fid: Fid) -> None:
        """Puts a fid in the place of the one that the caller has seen there; the caller frees that one."""
        self._fids[number] = fid

    def take(self, number: int) -> Fid:
        """Removes a fid; the caller frees what it holds. UnknownFid if there is none."""
        fid = self._fids.pop(number, None)
        if fid is None:
            raise serr.UnknownFid(number)
        return fid

    def take_client(self, client_id: int | None = None) -> list[Fid]:
        """Removes all fids of one client of the session, or of all; the caller frees what they hold."""
        # All before the first is freed, which may wait: no request finds one of them meanwhile.
        numbers = [n for n, fid in self._fids.items() if client_id is None or fid.caller.client_id == client_id]
        return [self._fids.pop(n) for n in numbers]

    def __len__(self) -> int:
        return len(self._fids)
