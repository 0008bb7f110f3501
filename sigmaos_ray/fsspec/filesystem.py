"""SigmaFileSystem: fsspec's interface on the client's calls.

Coroutines do the work, on the client's loop, where calls that are under way at the same time share messages; the
blocking calls of the same names are made of them. Nothing is cached: what others change is seen at once. Errors are
``serr``'s, which are Python's own where Python has one.

Pathnames are followed to their end: ``name/ux/~local`` is a directory. A listing shows a link as what it leads to,
with ``islink``. Calls without a limit of depth do not go through symbolic links to directories, so that they end, but
through endpoints; a glob goes where it is told to.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractBufferedFile

from sigmaos_ray import serr
from sigmaos_ray.blocking import Writer
from sigmaos_ray.fsspec import deliveries, entries, openfiles, placing, writefiles
from sigmaos_ray.fsspec.bridge import add_blocking_faces, on_client_loop
from sigmaos_ray.fsspec.contents import ContentCalls
from sigmaos_ray.fsspec.directories import DirectoryCalls
from sigmaos_ray.fsspec.infos import InfoCalls
from sigmaos_ray.fsspec.moving import MoveCalls
from sigmaos_ray.fsspec.names import NameCalls
from sigmaos_ray.fsspec.removing import RemoveCalls
from sigmaos_ray.fsspec.transactions import SigmaTransaction

if TYPE_CHECKING:
    from sigmaos_ray.fsspec.deliveries import Waiting
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
    from sigmaos_ray.sigmap import Mode, Perm


class SigmaFileSystem(NameCalls, InfoCalls, DirectoryCalls, ContentCalls, RemoveCalls, MoveCalls):
    """The namespace of one instance, as ``sigma://name/...``. May be shared by threads.

    fsspec makes one object per process for equal options, and keeps it. It may be pickled, and used in processes that
    were forked.
    """

    transaction_type = SigmaTransaction

    # -- opening

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A file object: rb, wb, xb, ab, r+b, or text. A ``with`` block that raises drops what it was writing."""
        # Reading is fsspec's own way. Writing is not: its wrappers for text and codecs close what they wrap however a
        # ``with`` block ends, and that would make half a file durable.
        if "r" in mode:
            if "+" in mode and get_compression(path, compression):
                raise serr.NotSupported(path, "what is compressed cannot be written in place")
            return super().open(path, mode, block_size, cache_options, compression, **kwargs)
        text = {key: kwargs.pop(key) for key in ("encoding", "errors", "newline") if key in kwargs}
        file = super().open(path, entries.mode_of(mode), block_size, cache_options, None, **kwargs)
        codec = get_compression(path, compression)
        if codec is not None:
            file = writefiles.CompressedWriter(file, compr[codec])
        return file if "b" in mode else writefiles.SigmaTextWriter(file, **text)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """``cache_type`` asks for one of fsspec's own caches instead of reading ahead."""
        mode = entries.mode_of(mode)
        block_bytes = block_size if isinstance(block_size, int) else self.blocksize
        if mode == "r+b":
            if not autocommit:
                raise serr.NotSupported(path, "what is written in place cannot be undone: not in a transaction")
            return openfiles.open_random(self, path, block_bytes)
        if mode != "rb":
            return writefiles.SigmaWriter(self, path, mode, autocommit=autocommit)
        if "cache_type" in kwargs:
            return AbstractBufferedFile(self, path, mode, block_bytes, cache_options=cache_options, **kwargs)
        return openfiles.open_reader(self, path, block_bytes)

    # -- what files that are written ask (``deliveries.DeliveringFs``)

    @property
    def message_bytes_max(self) -> int:
        return self.clnt.read_bytes_max

    @property
    def client(self) -> AsyncSigmaClnt:
        """The client beneath, which lives on the client's loop."""
        return self._sc

    def open_writer(self, path: str, mode: Mode, perm: Perm = 0o777) -> Writer:
        """A writer of the client's; with ``auto_mkdir`` in a directory that is made if it is missing."""
        return self.run(self._with_parents(path, lambda: self._opened_writer(path, mode, perm), make=self.auto_mkdir))

    @on_client_loop
    async def _opened_writer(self, path: str, mode: Mode, perm: Perm) -> Writer:
        return Writer(self.clnt, await self._sc.create_writer(entries.written(path, mode), perm, mode).open())

    def end_of(self, path: str) -> int:
        return self.run(placing.end_of(self._sc, path))

    def place_beside(self, path: str) -> Waiting | None:
        self.make_parents(path)
        return self.run(placing.beside(self._sc, path))

    def make_parents(self, path: str) -> None:
        if self.auto_mkdir and not entries.is_top(parent := self._parent(path)):
            self.run(self._makedirs(parent, exist_ok=True))

    def take_place(self, path: str, target: str) -> None:
        self.run(self._sc.rename(path, target))

    def remove_quietly(self, path: str) -> None:
        with contextlib.suppress(serr.SigmaError):  # its server may be gone: the error that led here is the one to tell
            self.run(self._sc.remove(path))

    def drop_later(self, delivery: deliveries.Delivery) -> None:
        if isinstance(delivery, deliveries.Held):
            return  # there is nothing on any server
        # A thread: whoever collects garbage waits for no server, and may be the loop that would have to answer.
        with contextlib.suppress(RuntimeError):  # the interpreter ends, and takes the session along
            threading.Thread(target=deliveries.quietly, args=(delivery,), name="fsspec-drop", daemon=True).start()


add_blocking_faces(SigmaFileSystem)
