"""A map task: reads the splits of its bin, and leaves one file of pairs for each reducer (MR-11, MR-12).

The files stand in a directory of their own, with a random name: nobody reads them unless this task ends well.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from typing import TYPE_CHECKING, Final

from sigmaos_ray import Status, decoding
from user.mr import shuffle
from user.mr.app import load
from user.mr.cutting import CUTS
from user.mr.description import Description, read_description
from user.mr.engine import MapSide
from user.mr.paths import MrPaths, anywhere, here, is_objects, local
from user.mr.reading import blocks
from user.mr.splits import Split
from user.mr.tasks import perform

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt
    from user.mr.app import App

USAGE: Final = "usage: mr.mapper JOB TASK BIN"


async def main(argv: list[str]) -> Status:
    """OK with what the coordinator is to know of the files. BIN: the splits, as JSON."""
    if len(argv) != 3:
        sys.exit(USAGE)

    async def work(sc: AsyncSigmaClnt, paths: MrPaths, task: int) -> Status:
        return Status.info("", await _map(sc, paths, task, decoding.json_decoder(list[Split])(argv[2])))

    return await perform(argv, "MRMAP_CRASH", "MRMAP_PARTITION", work)


async def _map(sc: AsyncSigmaClnt, paths: MrPaths, task: int, splits: list[Split]) -> dict[str, object]:
    began_s = time.monotonic()
    description = await read_description(sc, paths)
    app = load(description.app)
    pairs = MapSide(app)
    read_bytes = 0
    for split in splits:
        read_bytes += split.length
        pathname = here(split.file) if is_objects(split.file) else split.file
        waiting: list[bytes] = []
        async for block in blocks(sc, split, pathname, CUTS[app.cut], _record_bytes_max(description, app)):
            waiting.append(block)
            # What is read comes in pieces of 1 MiB or less; an app that asks for more is called less often.
            if sum(map(len, waiting)) >= app.block_bytes:
                pairs.add(split.file, b"".join(waiting))
                waiting.clear()
        if waiting:
            pairs.add(split.file, b"".join(waiting))
    # Once for the whole bin: one file for each reducer, however many splits there were.
    parts = shuffle.partition(pairs.pairs(), description.job.nreduce)
    files = [shuffle.encode(part) for part in parts]
    # Not before all is mapped: a task that fails earlier leaves nothing to be removed.
    directory = await _make_directory(sc, description.job.intermediate, paths.job, f"m-{task}-{secrets.token_hex(4)}")
    await asyncio.gather(*(sc.put_file(f"{directory}/r-{number}", data) for number, data in enumerate(files)))
    return {
        "dir": directory,
        "in": read_bytes,
        "out": sum(map(len, files)),
        "keys": sum(map(len, parts)),
        "ms": round((time.monotonic() - began_s) * 1e3, 3),
        "node": sc.kernel_id,
    }


def _record_bytes_max(description: Description, app: App) -> int:
    return description.job.linesz if app.cut == "line" else description.job.wordsz


async def _make_directory(sc: AsyncSigmaClnt, intermediate: str, job: str, name: str) -> str:
    """A directory that all nodes know by the same name: on S3, or on this node."""
    root = intermediate.rstrip("/")
    # By way of the own node, where writing is quickest; reducers elsewhere get the name that is good everywhere.
    root = here(root) if is_objects(root) else local(root, sc.kernel_id)
    directory = f"{root}/{job}/{name}"
    await sc.makedirs(directory)
    return anywhere(directory)
