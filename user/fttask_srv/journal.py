"""Where a task server keeps its changes: files in named, written under its leader's fence.

Each file holds the changes that waited while the one before it was written, so that many requests share a write.
Files are numbered; from time to time all of them are put together into a snapshot, and go.

<dir>/log/<number>            changes, in order
<dir>/snapshot/<number>.<k>   parts of the table as it was once that number was written
<dir>/snapshot/<number>       that all its parts are there
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.fttask_srv.state import TaskChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sigmaos_ray import AsyncSigmaClnt
    from user.fttask_srv.state import TaskTable

_log = debug.selector("FTTASKSRV")

_FILE_BYTES_MAX: Final = 900_000
"""named takes files of 1 MiB; what msgpack puts around the changes of one is far less than the rest."""
_LOGS_MAX: Final = 200
"""So many log files, and a snapshot takes their place: a new server reads them one after the other."""
_encode = msgspec.msgpack.Encoder().encode
_decode = decoding.msgpack_decoder(list[TaskChange])


class TaskJournal:
    """The changes of one server, below ``directory`` in named. ``load`` it once, then ``write``, and ``close`` it.

    ``on_lost`` is called when a write failed: what is in memory is then not what is written, and whether the last write
    took place nobody knows, so the process must end.
    """

    def __init__(self, sc: AsyncSigmaClnt, directory: str, on_lost: Callable[[serr.SigmaError], None]) -> None:
        self._sc = sc
        self._logs = f"{directory}/log"
        self._snapshots = f"{directory}/snapshot"
        self._on_lost = on_lost
        self._next = 1
        self._first = 1
        """The number of the oldest log file."""
        self._waiting: list[TaskChange] = []
        self._written: asyncio.Future[None] | None = None
        """Done once what waits now is written; all requests that share that write wait for it."""
        self._writer: asyncio.Task[None] | None = None
        self._table: TaskTable | None = None

    async def load(self, table: TaskTable) -> None:
        """Applies all that was written to an empty table; this journal makes snapshots of it from then on. Makes the
        directories if this is the first server."""
        for directory in (self._logs, self._snapshots):
            await self._sc.makedirs(directory)
        last = await self._load_snapshot(table)
        numbers = sorted(int(stat.name) for stat in await self._sc.get_dir(self._logs))
        for number in numbers:
            # Others are part of the snapshot: a server that was killed may have left them.
            if number > last:
                await self._apply_file(table, f"{self._logs}/{number:012}")
        self._first = numbers[0] if numbers else last + 1
        self._next = max([last, *numbers]) + 1
        self._table = table

    async def _load_snapshot(self, table: TaskTable) -> int:
        """Applies the newest one that is complete; returns the number of the last log file in it, 0 without any."""
        names = [stat.name for stat in await self._sc.get_dir(self._snapshots)]
        # Numbers have 12 digits, so the order of names is theirs.
        whole = sorted(name for name in names if "." not in name)
        if not whole:
            return 0
        newest = whole[-1]
        # Parts are numbered without leading zeros.
        parts = sorted((name for name in names if name.startswith(f"{newest}.")), key=lambda name: int(name[13:]))
        for name in parts:
            await self._apply_file(table, f"{self._snapshots}/{name}")
        return int(newest)

    async def _apply_file(self, table: TaskTable, pn: str) -> None:
        for change in _decode(await self._sc.get_file(pn)):
            table.apply(change)

    @staticmethod
    def check(change: TaskChange) -> None:
        """Inval for a change that no file takes: it must not be applied to the table."""
        if len(_encode([change])) > _FILE_BYTES_MAX:
            raise serr.Inval("tasks", f"over {_FILE_BYTES_MAX} bytes in one request")

    async def write(self, change: TaskChange | None = None) -> None:
        """Returns once the change, and all before it, are written; without one, once all before it are. The change was
        ``check``ed and applied to the table. IOErr if it, or one before it, was not written. A caller that is cancelled
        leaves the change on its way."""
        if change is not None:
            self._waiting.append(change)
        if self._waiting:
            if self._written is None:
                self._written = asyncio.get_running_loop().create_future()
            if self._writer is None or self._writer.done():
                self._writer = asyncio.create_task(self._write_all(), name="fttask-journal")
            await asyncio.shield(self._written)
        elif self._writer is not None and not self._writer.done():
            await asyncio.shield(self._writer)

    async def _write_all(self) -> None:
        """Until nothing waits. After a failure nothing is written any more: the process ends."""
        while self._waiting:
            changes, self._waiting = self._waiting, []
            written, self._written = self._written, None
            assert written is not None
            try:
                for part in _parts(changes):
                    # OEXCL: no number is written twice, whatever became of a leader before this one.
                    await self._sc.put_file(f"{self._logs}/{self._next:012}", part, mode=OWRITE | OEXCL)
                    self._next += 1
                written.set_result(None)
                # Only while nothing waits is the table what the files make: changes are applied before they are
                # written.
                if self._next - self._first > _LOGS_MAX and not self._waiting:
                    await self._snapshot()
            except serr.SigmaError as error:
                self._fail(error, written)
                return

    def _fail(self, error: serr.SigmaError, written: asyncio.Future[None]) -> None:
        self._on_lost(error)
        for future in (written, self._written):
            if future is not None and not future.done():
                future.set_exception(serr.IOErr("fttask", f"not written: {error}"))
                future.exception()  # nobody may wait for it: then asyncio is not to complain

    async def _snapshot(self) -> None:
        """Writes the table and removes the files that made it. The parts first, then the file that says they are all
        there, then the removals: wherever it ends, a new server finds one whole account."""
        assert self._table is not None
        last = self._next - 1
        for number, part in enumerate(_parts(self._table.as_changes())):
            await self._sc.put_file(f"{self._snapshots}/{last:012}.{number}", part)
        await self._sc.put_file(f"{self._snapshots}/{last:012}", b"")
        for stat in await self._sc.get_dir(self._snapshots):
            if not stat.name.startswith(f"{last:012}"):
                await self._sc.remove(f"{self._snapshots}/{stat.name}")
        # By what is there: a server that was killed at this point has removed some of them.
        names = [stat.name for stat in await self._sc.get_dir(self._logs) if int(stat.name) <= last]
        await asyncio.gather(*(self._sc.remove(f"{self._logs}/{name}") for name in names))
        self._first = last + 1
        _log(f"snapshot at {last}")

    async def close(self) -> None:
        """Waits for what is being written. No ``write`` may follow."""
        if self._writer is not None:
            await asyncio.wait({self._writer})


def _parts(changes: Iterable[TaskChange]) -> Iterable[bytes]:
    """Changes as files, none larger than named takes."""
    part: list[TaskChange] = []
    size = 0
    for change in changes:
        change_bytes = len(_encode(change))
        # One change alone fits: ``check`` has seen to it before it was applied.
        if part and size + change_bytes > _FILE_BYTES_MAX:
            yield _encode(part)
            part, size = [], 0
        part.append(change)
        size += change_bytes
    if part:
        yield _encode(part)
