"""What coordinators write: lists of what reducers read, the output as a whole; and what they remove."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from sigmaos_ray import debug, serr
from user.mr.paths import MANIFEST, MrPaths, here, is_objects, local, output_directory
from user.mr.tuning import COORD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from user.mr.description import Description

_log = debug.selector("MR_COORD")


class TaskOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What every task says of itself (MR-8), as its output at the task server."""

    input_bytes: int = msgspec.field(name="in")
    output_bytes: int = msgspec.field(name="out")
    ms: float
    """How long its work took, without the start of its process."""
    node: str
    """The kernel node that it ran on."""


class MapOutput(TaskOutput, frozen=True, kw_only=True):
    """Of a map task."""

    dir: str
    """Where its intermediate files stand: ``r-<number of the reducer>``."""
    keys: int


class ReduceOutput(TaskOutput, frozen=True, kw_only=True):
    """Of a reduce task."""

    file: str
    """Its part of the job's output."""


class Publisher:
    """Writes the files of one job, for its leader. Those in named are written under the leader's fence: Stale once
    another one leads."""

    def __init__(self, sc: AsyncSigmaClnt, paths: MrPaths, description: Description) -> None:
        self._sc = sc
        self._paths = paths
        self._job = description.job

    async def write_inputs(self, directories: Sequence[str], number: int) -> None:
        """Writes what the reducers of one round read: the list ``number``, which later rounds do not change. Inval for
        more map tasks than a file of named can list."""
        data = msgspec.json.encode(list(directories))
        try:
            await self._sc.put_file(self._paths.inputs(number), data)
        except serr.Inval as error:
            raise serr.Inval("binsz", f"{len(directories)} map tasks are too many: {error}") from error

    async def publish(self, maps: Sequence[MapOutput], reduces: Sequence[ReduceOutput]) -> None:
        """Shows the output: all of it or nothing, by one rename at the end. May be repeated, by another leader too,
        with the same tasks."""
        paths = self._paths
        try:
            # A leader that died behind the rename has published all of it.
            await self._sc.stat(paths.out)
        except serr.NotFound:
            pass
        else:
            return
        directory = output_directory(self._job.output, paths.job)
        # Before the manifest: whoever reads the directory without SigmaOS takes every file in it for output.
        await self._remove_strays(directory, {output.file.rpartition("/")[2] for output in reduces})
        unfinished = f"{paths.out}.unfinished"
        with contextlib.suppress(serr.NotFound):
            # What a leader before this one left may lack links, or have those of runs that do not count any more.
            await self._sc.rmdir(unfinished)
        await self._sc.mkdir(unfinished)
        for number, output in enumerate(reduces):
            await self._sc.symlink(output.file, f"{unfinished}/mr-out-{number}")
        await self._sc.put_file(paths.stats, stats_lines(maps, reduces))
        manifest = {"job": paths.job, "files": [output.file.rpartition("/")[2] for output in reduces]}
        await self._sc.put_file_json(f"{directory}/{MANIFEST}", manifest)
        # The moment in which the output is there. All that it leads to is written by now.
        await self._sc.rename(unfinished, paths.out)

    async def _remove_strays(self, directory: str, wanted: set[str]) -> None:
        """Removes the output of reducers that nobody waited for: runs of a task that were taken for lost and were
        not."""
        for stat in await self._sc.get_dir(directory):
            if stat.name.startswith("mr-out-") and stat.name not in wanted:
                with contextlib.suppress(serr.NotFound):
                    await self._sc.remove(f"{directory}/{stat.name}")

    async def clean_up(self, maps: Sequence[MapOutput]) -> None:
        """Removes the intermediate files, as far as their servers answer: the result does not depend on it."""
        roots = {output.dir.rpartition("/")[0] for output in maps}
        await clean_up(self._sc, self._job.intermediate, self._paths.job, roots)


async def clean_up(sc: AsyncSigmaClnt, intermediate: str, job: str, roots: set[str] | None = None) -> None:
    """Removes what the job's mappers left on any node: at ``roots``, and wherever they may have written. As far as the
    servers answer; raises nothing."""
    directories = set(roots or ())
    intermediate = intermediate.rstrip("/")
    if is_objects(intermediate):
        directories.add(f"{here(intermediate)}/{job}")
    else:
        with contextlib.suppress(serr.SigmaError):
            # Every node that is there now: runs that were lost are in nobody's list, and left their files where they
            # ran.
            nodes = [stat.name for stat in await sc.get_dir("/".join(intermediate.split("/")[:2]))]
            directories |= {f"{local(intermediate, node)}/{job}" for node in nodes}

    async def remove(directory: str) -> None:
        try:
            await sc.rmdir(directory)
        except serr.SigmaError as error:
            _log(f"{directory}: not removed: {error}")

    await asyncio.gather(*(remove(directory) for directory in directories))


def stats_lines(maps: Sequence[MapOutput], reduces: Sequence[ReduceOutput]) -> bytes:
    """One line of JSON for each task, in SigmaOS's names; the last lines are left out if named cannot take them."""
    lines: list[bytes] = []
    size = 0
    tasks: list[tuple[bool, int, TaskOutput]] = [(True, number, output) for number, output in enumerate(maps)]
    tasks += [(False, number, output) for number, output in enumerate(reduces)]
    for is_map, number, output in tasks:
        line = msgspec.json.encode(_stat(is_map, number, output)) + b"\n"
        size += len(line)
        if size > COORD.stats_bytes_max:
            lines.append(msgspec.json.encode({"Omitted": len(tasks) - len(lines)}) + b"\n")
            break
        lines.append(line)
    return b"".join(lines)


def _stat(is_map: bool, number: int, output: TaskOutput) -> dict[str, Any]:
    return {
        "IsM": is_map,
        "Task": number,
        "In": output.input_bytes,
        "Out": output.output_bytes,
        "MsInner": output.ms,
        "KernelID": output.node,
    }
