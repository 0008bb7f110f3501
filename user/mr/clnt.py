"""Running a job, and looking at jobs: the call behind ``sigmaos mr``.

The client plans the map tasks, starts two task servers and a group of coordinators, and keeps them alive while it
lives. A job whose client died goes on with what runs, and at its end that goes, too; ``stop_job`` ends it earlier.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.ft.fttask import AsyncFtTaskClnt, AsyncFtTaskSrvMgr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.mr.app import App, ship
from user.mr.description import Description, read_description
from user.mr.paths import COORDINATOR, ROOT, MrPaths, anywhere, is_objects, output_directory
from user.mr.publishing import clean_up
from user.mr.results import JobResult, Progress, decode_progress, decode_result
from user.mr.servers import end_coordinators, end_servers
from user.mr.splits import InputFile, bins_of, is_input
from user.mr.tuning import CLNT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import TracebackType

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt
    from user.mr.job import Job


class AsyncMapReduce:
    """One run of a job. ``start`` it, ``wait`` for it; ``close`` ends what still runs. An async context manager.

    ``app`` takes the place of the job's: an ``App`` of functions, or a module. ``near``: the directory that the job's
    own relative files are in. Everything but the output and ``name/mr/<name>`` is gone at the end.
    """

    def __init__(
        self,
        sc: AsyncSigmaClnt,
        job: Job,
        app: App | None = None,
        *,
        name: str | None = None,
        near: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._sc = sc
        self._job = job
        self._near = near
        self._shipped = ship(app or job.app, near)
        app_name = self._shipped.name.rpartition("/")[2].removesuffix(".py").rpartition(".")[2]
        self.paths = MrPaths(name or f"{app_name}-{secrets.token_hex(4)}")
        self._servers = [AsyncFtTaskSrvMgr(sc, pn) for pn in (self.paths.map_tasks, self.paths.reduce_tasks)]
        self._group = AsyncProcGroupMgr(sc, job.coordinators, COORDINATOR, [self.paths.job], 0, self.paths.group, env)
        self._ended: asyncio.Task[object] | None = None
        self._runs = False
        """True while the job of that name is this one."""
        self._began_s = time.monotonic()

    @property
    def group(self) -> AsyncProcGroupMgr:
        """The coordinators."""
        return self._group

    async def start(self) -> None:
        """Returns once the job's tasks are submitted. Exists if there is a job of that name; NotFound or Inval for
        input that is not there, or empty of files. What was started is ended by ``close``, also if it fails."""
        sc, paths = self._sc, self.paths
        self._began_s = time.monotonic()
        job = self._job = await _placed(sc, self._job)
        if job.local:
            await self._upload(job.local)
        # Planned before anything is started, so that input that is wrong leaves nothing to clean up.
        bins = bins_of(await find_input(sc, job.input), job.binsz)
        if len(bins) > CLNT.maps_max:
            raise serr.Inval("binsz", f"{len(bins)} map tasks, over {CLNT.maps_max}: make it larger")
        # Before the name is taken: an output that cannot be written fails the start, and leaves no job behind.
        await sc.makedirs(output_directory(job.output, paths.job))
        await self._claim_name()
        # Before the tasks: whoever runs one reads it.
        input_bytes = sum(split.length for splits in bins for split in splits)
        await sc.put_file(
            paths.description, msgspec.json.encode(Description(job, self._shipped, input_bytes, len(bins)))
        )
        try:
            async with asyncio.TaskGroup() as starting:
                for server in self._servers:
                    starting.create_task(self._start_server(server))
                starting.create_task(self._start_group())
                starting.create_task(self._submit([msgspec.json.encode(splits) for splits in bins]))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group  # a caller expects serr's errors, not a group of them

    async def _claim_name(self) -> None:
        """The directory of the job is its lock: whoever makes it runs the job."""
        await self._sc.makedirs(ROOT)
        try:
            await self._sc.mkdir(self.paths.dir)
        except serr.Exists as error:
            raise serr.Exists(self.paths.job, "there is a job of that name") from error
        self._runs = True

    async def _start_server(self, server: AsyncFtTaskSrvMgr) -> None:
        await server.start()
        await server.group.persist()

    async def _start_group(self) -> None:
        await self._group.start()
        await self._group.persist()
        self._ended = asyncio.create_task(self._group.wait(), name="mr-group")

    async def _submit(self, bins: list[bytes]) -> None:
        """Submits both kinds of tasks; coordinators that lead already wait for them."""
        maps = AsyncFtTaskClnt(self._sc, self.paths.map_tasks)
        reduces = AsyncFtTaskClnt(self._sc, self.paths.reduce_tasks)
        await reduces.submit_tasks(dict.fromkeys(range(self._job.nreduce), b""))
        # Said of both kinds: a coordinator takes a kind for done only once it knows that no more will come.
        await reduces.submitted_last_task()
        for batch in _batches(bins):
            await maps.submit_tasks(batch)
        await maps.submitted_last_task()

    async def _upload(self, directory: str) -> None:
        """Puts the files below a directory of this machine into the job's input. NotFound if it is not there."""
        source = (self._near or Path()) / directory
        if not source.is_dir():
            raise serr.NotFound(str(source), "local: no such directory")
        target = self._job.input.rstrip("/")
        for file in sorted(source.rglob("*")):
            if file.is_file():
                pn = f"{target}/{file.relative_to(source).as_posix()}"
                await self._sc.makedirs(pn.rpartition("/")[0])
                await self._sc.upload_file(file, pn)

    async def wait(self) -> JobResult:
        """Blocks for the result, and until the servers are gone. A job that failed, or was stopped, has a result, too.
        ``start`` came before."""
        result = await self._result()
        await self.close()
        return msgspec.structs.replace(result, duration_s=round(time.monotonic() - self._began_s, 3))

    # The last coordinator may have ended just after it wrote the result, of which the watch has not heard yet; once all
    # are over and there still is none, nobody will write one.
    async def _result(self) -> JobResult:
        reading = asyncio.create_task(self._read_result(), name="mr-result")
        try:
            assert self._ended is not None, "wait comes after start"
            await asyncio.wait({reading, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=CLNT.result_late_s)
            if reading.done():
                return reading.result()
            ends = [str(report.status) for report in await self._group.wait()]
            return JobResult(job=self.paths.job, ok=False, error=f"the coordinators ended: {'; '.join(ends)}")
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read_result(self) -> JobResult:
        """Blocks until the result is written. The job goes on while named is away, and so does this."""
        while True:
            try:
                return decode_result(await self._sc.get_file_watch(self.paths.result))
            except serr.SESSION_ERRORS:
                if self._sc.is_closed:
                    raise
                await asyncio.sleep(CLNT.again_s)

    async def progress(self) -> Progress:
        """How far it is, as the coordinator wrote it last: a fifth of a second ago, while one leads."""
        return await read_progress(self._sc, self.paths)

    async def close(self) -> None:
        """Ends what runs; a job that was not finished is stopped, and has no output. May be repeated."""
        # A run whose name was taken must not end the job that has it.
        if not self._runs:
            return
        # The coordinators first: one that leads would take servers that end for servers that fail.
        await self._group.stop()
        await asyncio.gather(*(self._end_server(server) for server in self._servers))
        if self._ended is not None:
            await asyncio.wait({self._ended})
        await _say_stopped(self._sc, self.paths, self._job)
        self._runs = False

    async def _end_server(self, server: AsyncFtTaskSrvMgr) -> None:
        await server.stop()
        await server.clear()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _batches(bins: list[bytes]) -> Iterator[dict[int, bytes]]:
    """The bins by number, as many together as one submission takes; one batch at least."""
    # A submission has to fit into a file of the task server's journal.
    batch: dict[int, bytes] = {}
    size = 0
    for number, splits in enumerate(bins):
        if batch and size + len(splits) > CLNT.submit_bytes:
            yield batch
            batch, size = {}, 0
        batch[number] = splits
        size += len(splits)
    yield batch


async def _placed(sc: AsyncSigmaClnt, job: Job) -> Job:
    """The job as all nodes understand it: S3 is the same by way of each of them; files in ux are those of one node,
    which is this client's for ``~local``."""

    async def placed(pn: str) -> str:
        return anywhere(pn) if is_objects(pn) else await sc.resolve_unions(pn)

    return msgspec.structs.replace(job, input=await placed(job.input), output=await placed(job.output))


async def find_input(sc: AsyncSigmaClnt, pn: str) -> list[InputFile]:
    """The files of a directory and of those below it, in order of name, but for what is hidden or under way
    (``is_input``); or the one file. NotFound if it is not there, Inval if there is no file."""
    pn = pn.rstrip("/")
    stat = await sc.stat(f"{pn}/")
    if not stat.is_dir:
        return [InputFile(pn, stat.length)]
    files: list[InputFile] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for entry in sorted(await sc.get_dir(f"{pn}{below}"), key=lambda entry: entry.name):
            if not is_input(entry.name):
                continue
            if entry.is_dir:
                waiting.append(f"{below}/{entry.name}")
            else:
                files.append(InputFile(f"{pn}{below}/{entry.name}", entry.length))
    if not files:
        raise serr.Inval(pn, "input: no file is there")
    return sorted(files)


async def read_progress(sc: AsyncSigmaClnt, paths: MrPaths) -> Progress:
    """How far a job is, as its coordinator wrote it last; nothing, of one that has not begun."""
    try:
        return decode_progress(await sc.get_file(paths.progress))
    except serr.NotFound:
        return Progress()


async def _say_stopped(sc: AsyncSigmaClnt, paths: MrPaths, job: Job) -> None:
    """Writes the result of a job that was ended before it had one."""
    # OEXCL: a result that the coordinator wrote in the last moment is the true one, and stays.
    result = JobResult(job=paths.job, ok=False, error="stopped")
    try:
        await sc.put_file(paths.result, msgspec.json.encode(result), mode=OWRITE | OEXCL)
    except (serr.Exists, serr.NotFound):  # it is over, or was never there
        return
    await clean_up(sc, job.intermediate, paths.job)


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What ``ls`` shows of a job. ``state``: running, done, failed or stopped."""

    name: str
    app: str
    state: str
    input_bytes: int
    began_s: float
    """Seconds since 1970."""
    progress: Progress
    result: JobResult | None = None


async def list_jobs(sc: AsyncSigmaClnt) -> list[JobInfo]:
    """All jobs of the realm, the newest last."""
    try:
        names = [stat.name for stat in await sc.get_dir(ROOT)]
    except serr.NotFound:
        return []
    infos = [await _info(sc, MrPaths(name)) for name in names]
    return sorted((info for info in infos if info is not None), key=lambda info: info.began_s)


async def _info(sc: AsyncSigmaClnt, paths: MrPaths) -> JobInfo | None:
    try:
        description = await read_description(sc, paths)
        began_s = (await sc.stat(paths.description)).mtime
    except serr.NotFound:  # it is just being made, or removed
        return None
    result: JobResult | None = None
    with contextlib.suppress(serr.NotFound):
        result = decode_result(await sc.get_file(paths.result))
    state = "running" if result is None else "done" if result.ok else "failed"
    return JobInfo(
        name=paths.job,
        app=description.job.app,
        state="stopped" if result is not None and result.error == "stopped" else state,
        input_bytes=description.input_bytes,
        began_s=began_s,
        progress=await read_progress(sc, paths),
        result=result,
    )


async def stop_job(sc: AsyncSigmaClnt, name: str) -> None:
    """Ends a job, whoever runs it; returns once its procs are gone. NotFound if there is none; a job that is over stays
    as it is."""
    paths = MrPaths(name)
    description = await read_description(sc, paths)
    # In the order of ``AsyncMapReduce.close``, and for its reason.
    await end_coordinators(sc, paths)
    await end_servers(sc, paths)
    await _say_stopped(sc, paths, description.job)


async def read_output(sc: AsyncSigmaClnt, name: str) -> AsyncIterator[tuple[bytes, bytes]]:
    """The pairs of a job's output, file by file. NotFound if it has none (yet). A value is what is behind the last tab
    of its line: keys may have tabs in them, and a value that has some is cut."""
    paths = MrPaths(name)
    for stat in await sc.get_dir(paths.out):
        async with sc.open_reader(f"{paths.out}/{stat.name}/") as reader:
            rest = b""
            async for part in reader:
                # Each line ends with a separator, so that nothing is in ``rest`` at the end of a file.
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    # From the right: a key may have tabs in it, and a value mostly is a number.
                    key, _, value = line.rpartition(b"\t")
                    yield key, value


class MapReduce:
    """The blocking face of ``AsyncMapReduce``: also a context manager."""

    def __init__(
        self,
        sc: SigmaClnt,
        job: Job,
        app: App | None = None,
        *,
        name: str | None = None,
        near: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._sc = sc
        self._run = AsyncMapReduce(sc.asynchronous, job, app, name=name, near=near, env=env)

    @property
    def asynchronous(self) -> AsyncMapReduce:
        """The run beneath."""
        return self._run

    @property
    def name(self) -> str:
        """Of the job."""
        return self._run.paths.job

    @property
    def group(self) -> AsyncProcGroupMgr:
        """The coordinators: for looking, not for calling."""
        return self._run.group

    def start(self) -> None:
        """See ``AsyncMapReduce.start``."""
        self._sc.run(self._run.start())

    def wait(self) -> JobResult:
        """See ``AsyncMapReduce.wait``."""
        return self._sc.run(self._run.wait())

    def progress(self) -> Progress:
        """See ``AsyncMapReduce.progress``."""
        return self._sc.run(self._run.progress())

    def close(self) -> None:
        """See ``AsyncMapReduce.close``."""
        self._sc.run(self._run.close())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def run(sc: SigmaClnt, job: Job, app: App | None = None, *, name: str | None = None) -> JobResult:
    """Runs a job from beginning to end, and blocks until it ends. A job that failed raises nothing: its result says so.
    Raises like ``MapReduce.start``."""
    with MapReduce(sc, job, app, name=name) as running:
        return running.wait()


def output_of(sc: SigmaClnt, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The pairs of a job's output, all in memory. NotFound if it has none (yet)."""

    async def collect() -> list[tuple[bytes, bytes]]:
        return [pair async for pair in read_output(sc.asynchronous, name)]

    return iter(sc.run(collect()))
