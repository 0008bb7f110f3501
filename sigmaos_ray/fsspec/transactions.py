"""Transactions: files that show together, or not at all.

In named a commit is one moment, as far as one transaction of named's carries it. Elsewhere everything is made ready
first, so that what is left to do is a rename or the end of an upload for each file, one after the other.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from fsspec.transaction import Transaction

from sigmaos_ray import serr
from sigmaos_ray.fslib.transactions import Create, Put
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.deliveries import Held, quietly
from sigmaos_ray.sigmap import DEV_NAMED, OEXCL

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.fslib.transactions import Change
    from sigmaos_ray.fsspec.writefiles import PipedFile, SigmaWriter
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

CHANGES_MAX: Final = 32
CHANGED_BYTES_MAX: Final = 1 << 20
LOOKS_MAX: Final = 8
"""How often is looked whether a file is there, which others make or remove at the same time."""


class _CommittingFs(Protocol):
    """What a transaction asks of its file system."""

    _intrans: bool
    _transaction: Any

    @property
    def client(self) -> AsyncSigmaClnt: ...

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...

    def make_parents(self, path: str) -> None:
        """The directories above a file, if the file system makes such."""


class SigmaTransaction(Transaction):  # type: ignore[misc]  # fsspec ships no types
    """What one thread, or task, writes between ``start`` and ``complete``; others' writes are none of it.

    All of it on named, of up to 32 files with 1 MiB, shows in one moment or not at all. Any other commit makes the
    files ready first, and nothing shows if that fails; then it publishes them in the order in which they were opened.
    One that fails there is told, and those after it are dropped; those before it stay.
    """

    def complete(self, commit: bool = True) -> None:
        """Commits, or drops everything. The transaction is over, however that ends."""
        files = list(self.files)
        self.files.clear()
        fs: _CommittingFs = self.fs  # type: ignore[has-type]
        self.fs = None
        fs._intrans, fs._transaction = False, None
        try:
            if commit:
                _commit(fs, files)
        finally:
            for file in files:
                if not file.is_settled:
                    file.settle()
                    quietly(file.delivery)


def _commit(fs: _CommittingFs, files: list[SigmaWriter | PipedFile]) -> None:
    for file in files:
        file.close()
    latest = {file.path: file for file in files if not file.is_settled}  # of one name the last one counts, as written
    for file in latest.values():
        fs.make_parents(file.path)
    if not _commit_in_named(fs, list(latest.values())):
        for file in latest.values():
            file.commit()


def _commit_in_named(fs: _CommittingFs, files: list[SigmaWriter | PipedFile]) -> bool:
    """One transaction for all of them; False if that cannot be."""
    held = [file for file in files if isinstance(file.delivery, Held)]
    size = sum(len(file.delivery.data) for file in held if isinstance(file.delivery, Held))
    if not files or len(held) < len(files) or len(files) > CHANGES_MAX or size > CHANGED_BYTES_MAX:
        return False
    done: bool = fs.run(_transacted(fs.client, {file.path: file.delivery for file in held}))
    if done:
        for file in files:
            file.settle()
    return done


async def _transacted(sc: AsyncSigmaClnt, held: dict[str, Any]) -> bool:
    for path in {entries.parent_of(path) for path in held}:
        if (await sc.stat(entries.followed(path))).dev != DEV_NAMED:
            return False
    for look in range(LOOKS_MAX):
        changes = [await _change(sc, path, delivery) for path, delivery in held.items()]
        with contextlib.suppress(*([] if look == LOOKS_MAX - 1 else [serr.NotFound, serr.Exists])):
            await sc.transact(changes)
            return True
    raise AssertionError("the last look raises or returns")


async def _change(sc: AsyncSigmaClnt, path: str, delivery: Held) -> Change:
    try:
        await sc.stat(path)
    except serr.NotFound:
        return Create(path, bytes(delivery.data))
    if delivery.flags & OEXCL:
        raise serr.Exists(path)
    return Put(path, bytes(delivery.data))
