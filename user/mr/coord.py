"""The coordinator (MR-12): one of a group that leads, under a fence, and has all tasks of a job done.

What is done stands with the task servers: whoever leads next goes on from there. First the map tasks run, all of them,
then the reduce tasks. Those that lost some of their input wait until the map tasks that wrote it ran again. At the end
the output is published at once, and then the result is written: the last thing, as whoever waits for the job waits for
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray import AsyncSigmaClnt, Proc, Status, crash, debug, decoding, serr
from sigmaos_ray.ft.fttask import AsyncFtTaskClnt, AsyncFtTaskCoord, TaskResult, TaskStatus
from sigmaos_ray.ft.leading import Leadership, unless_evicted
from user.mr.description import read_description
from user.mr.paths import MAPPER, REDUCER, MrPaths
from user.mr.publishing import MapOutput, Publisher, ReduceOutput
from user.mr.results import JobResult, Phase, Progress
from user.mr.servers import end_servers
from user.mr.state import JobFailed, JobState
from user.mr.tuning import COORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.sigmap import Fence
    from user.mr.description import Description
    from user.mr.state import Kind

USAGE: Final = "usage: mr.coord JOB"
_log = debug.selector("MR_COORD")


async def main(argv: list[str]) -> Status:
    """OK once the result is written; fatal, so that no other one tries, if the job failed; evicted if it was."""
    if len(argv) != 2:
        sys.exit(USAGE)
    paths = MrPaths(argv[1])
    async with AsyncSigmaClnt() as sc:
        await sc.started()
        loop = asyncio.get_running_loop()
        leadership = Leadership(sc, paths.leader, [paths.dir])

        def cut_off() -> None:
            # The fault's own thread calls this; the client is the loop's.
            asyncio.run_coroutine_threadsafe(sc.disconnect("name"), loop)

        with crash.arm("MRCOORD_CRASH"), crash.arm("MRCOORD_PARTITION", cut_off):
            if not await leadership.lead():
                return Status.evicted()
            return await _lead(sc, paths, leadership)


async def _lead(sc: AsyncSigmaClnt, paths: MrPaths, leadership: Leadership) -> Status:
    coordinator = Coordinator(sc, paths, leadership.fence)
    try:
        if not await unless_evicted(sc, coordinator.run()):
            return Status.evicted()
        await unless_evicted(sc, _tidy_up(sc, paths))
    except JobFailed as failure:
        await coordinator.fail(str(failure))
        await unless_evicted(sc, _tidy_up(sc, paths))
        return Status.fatal(str(failure))
    except serr.SigmaError:
        raise  # the next one tries again
    except Exception as error:  # noqa: BLE001  # a defect: whoever leads next would fail alike
        traceback.print_exc()
        # Told as the job's result: from a group that has ended a client learns no more than that it has.
        await coordinator.fail(f"{type(error).__name__}: {error}")
        return Status.fatal(str(error))
    finally:
        # Before another one may lead: it would run the same tasks beside them.
        await coordinator.close()
        with contextlib.suppress(serr.SigmaError):  # it ends with this client's lease
            await leadership.resign()
    return Status.ok()


async def _tidy_up(sc: AsyncSigmaClnt, paths: MrPaths) -> None:
    """Ends the task servers, as a client that lives has done by then, and a dead one never does."""
    await asyncio.sleep(COORD.client_s)
    await end_servers(sc, paths)


class Coordinator:
    """The leader's work on one job. ``run`` it, ``fail`` it if that raised, and ``close`` it: tasks that still run are
    killed."""

    def __init__(self, sc: AsyncSigmaClnt, paths: MrPaths, fence: Fence) -> None:
        self._sc = sc
        self._paths = paths
        self._fence = fence
        self._state = JobState()
        self._tasks: dict[Kind, AsyncFtTaskClnt] = {
            "map": AsyncFtTaskClnt(sc, paths.map_tasks),
            "reduce": AsyncFtTaskClnt(sc, paths.reduce_tasks),
        }
        self._running: dict[tuple[Kind, int], str] = {}
        """The pids of the tasks that run now."""
        self._progress = Progress()
        """As it was written last."""
        self._inputs = fence.epoch * COORD.rounds_max
        """The number of the list that reducers read. Of this leader and this round alone: a reducer of an older round
        that is late must not read what was not there when it began."""
        self._began_s = time.monotonic()
        self._map_s = 0.0
        self._reduce_s = 0.0

    async def run(self) -> None:
        """Returns once the result is written. JobFailed if the job cannot be done; Inval, of the task servers, and
        Stale if another one leads."""
        if await self._is_over():
            return
        # Before anything is moved: the leader before this one may still be acquiring tasks.
        for clnt in self._tasks.values():
            await clnt.fence(self._fence)
        await self._take_over()
        writing = asyncio.create_task(self._write_progress(), name="mr-progress")
        try:
            await self._rounds()
        finally:
            writing.cancel()
            await asyncio.wait({writing})

    async def _take_over(self) -> None:
        """What a coordinator before this one had begun is begun anew."""
        # Nobody knows how far those tasks came. Those that still run do no harm: each run writes files of its own.
        maps = await self._tasks["map"].move_tasks_by_status(TaskStatus.WIP, TaskStatus.TODO)
        reduces = await self._tasks["reduce"].move_tasks_by_status(TaskStatus.WIP, TaskStatus.TODO)
        self._state.take_over(maps, reduces)

    async def _is_over(self) -> bool:
        """Whether a coordinator that led before wrote the result."""
        try:
            await self._sc.stat(self._paths.result)
        except serr.NotFound:
            return False
        return True

    async def _rounds(self) -> None:
        """Runs map tasks and reduce tasks until all are done, and publishes the output."""
        while True:
            began_s = time.monotonic()
            await self._all("map", lambda number, data: Proc(MAPPER, [self._paths.job, str(number), data.decode()]))
            self._map_s += time.monotonic() - began_s
            description = await read_description(self._sc, self._paths)  # written before any task was submitted
            publisher = Publisher(self._sc, self._paths, description)
            # Asked for anew in each round: a map task that ran again has its files elsewhere.
            map_outputs = await self._outputs("map", description.maps_count, MapOutput)
            self._inputs += 1
            await publisher.write_inputs([output.dir for output in map_outputs], self._inputs)
            # Those that lost their input in the last round.
            await self._tasks["reduce"].move_tasks_by_status(TaskStatus.ERROR, TaskStatus.TODO)
            began_s = time.monotonic()
            await self._all(
                "reduce", lambda number, _: Proc(REDUCER, [self._paths.job, str(number), str(self._inputs)])
            )
            self._reduce_s += time.monotonic() - began_s
            # Only now, when all reducers have ended: so those that lost something bring about one more round, not one
            # each.
            if lost := self._state.take_lost():
                _log(f"{self._paths.job}: input lost of map tasks {lost}")
                await self._tasks["map"].move_tasks(lost, TaskStatus.TODO)
                continue
            reduce_outputs = await self._outputs("reduce", description.job.nreduce, ReduceOutput)
            await self._finish(publisher, description, map_outputs, reduce_outputs)
            return

    async def _all(self, kind: Kind, make_proc: Callable[[int, bytes], Proc]) -> None:
        """Runs the tasks of one kind until none is TODO or WIP."""

        def make_and_note(number: int, data: bytes) -> Proc:
            proc = make_proc(number, data)
            # Noted before it is spawned: a coordinator that is cut off in between still kills it.
            self._running[kind, number] = proc.pid
            return proc

        def on_result(result: TaskResult) -> TaskStatus:
            self._running.pop((kind, result.id), None)
            return self._state.end_run(kind, result)

        await AsyncFtTaskCoord(self._sc, self._tasks[kind]).execute_tasks(make_and_note, on_result)

    async def _outputs(self, kind: Kind, count: int, shape: type[Any]) -> list[Any]:
        """What the tasks of one kind said of themselves, in order of their numbers. All are DONE."""
        outputs: list[Any] = []
        decode = decoding.json_decoder(shape)
        for begin in range(0, count, COORD.outputs_count):
            part = await self._tasks[kind].get_task_outputs(range(begin, min(begin + COORD.outputs_count, count)))
            outputs += [decode(part[number]) for number in sorted(part)]
        return outputs

    # Published before anything is removed: until then a coordinator that takes over may have to run reducers again.
    async def _finish(
        self,
        publisher: Publisher,
        description: Description,
        maps: list[MapOutput],
        reduces: list[ReduceOutput],
    ) -> None:
        await publisher.publish(maps, reduces)
        counters = self._state.counters
        counters.in_bytes = sum(output.input_bytes for output in maps)
        counters.shuffle_bytes = sum(output.output_bytes for output in maps)
        counters.out_bytes = sum(output.output_bytes for output in reduces)
        await publisher.clean_up(maps)  # nobody reads them: all tasks are done for good
        await self._write(description, outputs=[output.file for output in reduces])

    async def fail(self, why: str) -> None:
        """Writes a result without output."""
        description = await read_description(self._sc, self._paths)
        await self._write(description, error=why)

    async def _write(self, description: Description, error: str = "", outputs: list[str] | None = None) -> None:
        result = JobResult(
            job=self._paths.job,
            ok=not error,
            error=error,
            outputs=outputs or [],
            counters=self._state.counters,
            input_bytes=description.input_bytes,
            duration_s=round(time.monotonic() - self._began_s, 3),
            map_s=round(self._map_s, 3),
            reduce_s=round(self._reduce_s, 3),
        )
        await self._sc.put_file_json(self._paths.result, result)

    async def _write_progress(self) -> None:
        """Writes the progress whenever there is some, until it is cancelled."""
        while True:
            with contextlib.suppress(serr.SigmaError):  # the job goes on while it cannot be written
                progress = await self._measure_progress()
                # Each write is one of etcd's: a job that does not move costs none.
                if progress != self._progress:
                    await self._sc.put_file_json(self._paths.progress, progress)
                    self._progress = progress
            await asyncio.sleep(COORD.progress_s)

    async def _measure_progress(self) -> Progress:
        phases = []
        for kind, clnt in self._tasks.items():
            stats = await clnt.get_task_stats()
            running = sum(1 for running, _ in self._running if running == kind)
            total = stats.todo + stats.wip + stats.done + stats.error
            phases.append(Phase(total=total, done=stats.done, running=running))
        counters = self._state.counters
        return Progress(
            map=phases[0],
            reduce=phases[1],
            map_failures=self._state.failures["map"],
            reduce_failures=self._state.failures["reduce"],
            nrestart=counters.nrestart,
            in_bytes=counters.in_bytes,
            shuffle_bytes=counters.shuffle_bytes,
        )

    async def close(self) -> None:
        """Kills the tasks that run. May be repeated."""
        # Not left to themselves: the next leader runs the same tasks, and they would share the machines.
        pids = list(self._running.values())
        self._running.clear()
        await asyncio.gather(*(self._evict(pid) for pid in pids))

    async def _evict(self, pid: str) -> None:
        with contextlib.suppress(serr.SigmaError):  # it ended, or its node did
            await self._sc.evict(pid, COORD.kill_s)
