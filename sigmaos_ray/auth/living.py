"""Which tokens of procs have not ended: a table in a file that their schedd writes, and servers of its machine read.

A token names a slot, the slot holds the token's mark for as long as the proc lives. Both sides map the file, so that
neither asks anybody. Servers on other machines ask the schedd (``gate``). A schedd holds a lock on its table: the
system takes that from one that is killed, and so nothing in its table lives any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigmaos_ray.auth import tokens

if TYPE_CHECKING:
    from sigmaos_ray.auth.tokens import TokenSlot

_SLOT_BYTES: Final = 16
_SLOTS_FIRST: Final = 4096
_FREE: Final = bytes(_SLOT_BYTES)


def table_dir(state_dir: str) -> Path:
    """Where the tables of a machine are."""
    return Path(state_dir) / "auth" / "living"


def _is_dead(fd: int) -> bool:
    """Whether nobody has that table's lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _drop_dead(directory: Path) -> None:
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if os.fstat(file.fileno()).st_size and _is_dead(file.fileno()):
                path.unlink()


class LiveTable:
    """A schedd's table. Whoever makes it closes it; then nothing in it lives any more."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own in each life of a schedd: what an earlier one wrote is not read again.
        self.name = secrets.token_hex(8)
        self._path = directory / self.name
        _drop_dead(directory)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._free: list[int] = []
        self._count = 0
        self._map = self._grown()

    def _grown(self) -> mmap.mmap:
        """The file mapped anew, with twice the room."""
        first, self._count = self._count, self._count * 2 or _SLOTS_FIRST
        os.ftruncate(self._fd, self._count * _SLOT_BYTES)
        self._free.extend(range(self._count - 1, first - 1, -1))
        return mmap.mmap(self._fd, self._count * _SLOT_BYTES)

    def take(self) -> int:
        """A free slot, for a token that is about to be made."""
        if not self._free:
            self._map.close()
            self._map = self._grown()
        return self._free.pop()

    def lives(self, slot: int, token: str) -> None:
        """The token of that slot is good from now on."""
        self._map[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] = tokens.mark_of(token)

    def holds(self, slot: int, mark: bytes) -> bool:
        """Whether that token's mark stands there: for servers on other machines."""
        return 0 <= slot < self._count and self._map[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] == mark

    def ended(self, slot: int) -> None:
        """It is no more, and the slot is free."""
        self._map[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] = _FREE
        self._free.append(slot)

    def close(self) -> None:
        """Nothing lives. May be repeated."""
        if self._fd < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        # Who has it mapped sees this as well.
        self._map[:] = bytes(len(self._map))
        self._map.close()
        os.close(self._fd)
        self._fd = -1


class LiveReader:
    """The tables of this machine, as a server reads them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tables: dict[str, tuple[int, mmap.mmap]] = {}

    def lives(self, place: TokenSlot, mark: bytes) -> bool:
        """Whether the token of that place is good still; not if its schedd is gone."""
        end = (place.slot + 1) * _SLOT_BYTES
        table = self._table(place.table, end)
        return table is not None and place.slot >= 0 and table[place.slot * _SLOT_BYTES : end] == mark

    def _table(self, name: str, end: int) -> mmap.mmap | None:
        """A table whose schedd lives; None if there is none of so many bytes."""
        if name not in self._tables and not self._open(name):
            return None
        fd, table = self._tables[name]
        if _is_dead(fd):
            self._drop(name)
            return None
        if len(table) < end <= os.fstat(fd).st_size:
            table.close()
            table = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            self._tables[name] = fd, table
        return table if end <= len(table) else None

    def _open(self, name: str) -> bool:
        if not name.isalnum():  # a stranger's word: it leads nowhere else
            return False
        try:
            fd = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            self._tables[name] = fd, mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        except (OSError, ValueError):  # ValueError: empty, as it is for a moment when it is made
            os.close(fd)
            return False
        return True

    def _drop(self, name: str) -> None:
        fd, table = self._tables.pop(name)
        table.close()
        os.close(fd)

    def close(self) -> None:
        """Lets go of all tables. May be repeated."""
        for name in list(self._tables):
            self._drop(name)
