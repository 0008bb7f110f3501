"""A reduce task: merges what the map tasks have for it into one file of output (MR-11, MR-12).

What it finds lost of its input it reports to the coordinator, all of it at once: the map tasks that wrote it run again,
and then this task does.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sigmaos_ray import Status, decoding, serr
from user.mr import shuffle
from user.mr.app import load
from user.mr.description import read_description
from user.mr.engine import ReduceSide
from user.mr.paths import MrPaths, anywhere, here, is_objects, output_directory
from user.mr.tasks import RESTART, perform
from user.mr.tuning import TASK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray import AsyncSigmaClnt

USAGE: Final = "usage: mr.reducer JOB TASK INPUTS"
_LOST: Final = (serr.NotFound, *serr.SESSION_ERRORS, serr.IOErr)
"""Errors that say that a file, or its server, is gone."""


async def main(argv: list[str]) -> Status:
    """OK with what the coordinator is to know of the output; an error ``RESTART`` with the numbers of lost map
    tasks."""
    if len(argv) != 3:
        sys.exit(USAGE)

    async def work(sc: AsyncSigmaClnt, paths: MrPaths, task: int) -> Status:
        return await _reduce(sc, paths, task, int(argv[2]))

    return await perform(argv, "MRREDUCE_CRASH", "MRREDUCE_PARTITION", work)


async def _reduce(sc: AsyncSigmaClnt, paths: MrPaths, task: int, inputs: int) -> Status:
    began_s = time.monotonic()
    description = await read_description(sc, paths)
    directories = decoding.json_decoder(list[str])(await sc.get_file(paths.inputs(inputs)))
    pairs = ReduceSide(load(description.app))
    source = _Source(sc, [f"{directory}/r-{task}" for directory in directories])
    async for part in source.parts():
        pairs.add(part)
    if source.lost:
        return Status.err(RESTART, sorted(source.lost))
    output = pairs.output()
    # A name of its own: another run of this task, that was taken for lost, may write at the same time.
    pathname = f"{output_directory(description.job.output, paths.job)}/mr-out-{task}-{secrets.token_hex(4)}"
    # Whole or not at all: what a reducer that dies leaves here must not look like output.
    await sc.put_file_atomic(pathname, output)
    return Status.info(
        "",
        {
            "file": anywhere(pathname),
            "in": source.read_bytes,
            "out": len(output),
            "ms": round((time.monotonic() - began_s) * 1e3, 3),
            "node": sc.kernel_id,
        },
    )


class _Source:
    """The files of one reducer, in the order of the map tasks; some of them are read ahead."""

    def __init__(self, sc: AsyncSigmaClnt, files: list[str]) -> None:
        self._sc = sc
        self._files = files
        self.lost: set[int] = set()
        """The numbers of the map tasks whose files could not be read."""
        self.read_bytes = 0
        self._dead: set[str] = set()
        """Servers that did not answer: their other files are lost too, without a try."""

    async def parts(self) -> AsyncIterator[dict[shuffle.Key, object]]:
        """The pairs of each file that could be read. Raises what says nothing of a file, such as an S3 that is away."""
        ahead: deque[asyncio.Task[bytes | None]] = deque()
        begun = 0
        try:
            for number, file in enumerate(self._files):
                # Ahead, but handed on in the order of the map tasks: on that order the order of a key's values depends.
                while begun < min(number + TASK.reads_ahead, len(self._files)):
                    ahead.append(asyncio.create_task(self._read(begun), name="mr-shuffle"))
                    begun += 1
                data = await ahead.popleft()
                if data is not None:
                    self.read_bytes += len(data)
                    yield shuffle.decode(data, file)
        finally:
            # Whoever stops reading in the middle leaves files on their way.
            for task in ahead:
                task.cancel()
            if ahead:
                await asyncio.wait(ahead)

    async def _read(self, number: int) -> bytes | None:
        """A file; None if it is lost."""
        file = self._files[number]
        # ``name/ux/<node>``: one time-out for a node that is gone, instead of one for each of its files.
        server = "/".join(file.split("/")[:3])
        if server not in self._dead:
            try:
                return await self._sc.get_file(here(file) if is_objects(file) else file)
            except _LOST as error:
                if self._sc.is_closed or (is_objects(file) and not isinstance(error, serr.NotFound)):
                    raise  # not lost: another node's S3 server shows it as well
                if not isinstance(error, serr.NotFound):
                    self._dead.add(server)
        self.lost.add(number)
        return None
