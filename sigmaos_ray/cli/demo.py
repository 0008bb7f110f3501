"""``sigmaos demo``: boots SigmaOS, puts text files into S3, counts their words with one proc each, shuts down; with
``--here`` on the instance that runs, which stays as it was."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sigmaos_ray import AsyncSigmaClnt, Proc, Status, serr
from sigmaos_ray.cli.context import client_env, ending_on_signals
from sigmaos_ray.cli.demo_view import Row, View, make_view
from sigmaos_ray.sigmap import path
from sigmaos_ray.testing import corpus
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.instance import Instance

BUCKET: Final = "sigmaos-demo"
PREFIX: Final = "gutenberg"
DIRECTORY: Final = f"name/s3/~any/{BUCKET}/{PREFIX}"
_CHUNK_BYTES: Final = 1 << 20
_UPLOADS_AT_A_TIME: Final = 4
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Inputs(NamedTuple):
    files: list[Path]
    skipped: list[str]
    """What is not counted, and why."""


def run_demo(input_dir: Path | None, *, keep: bool = False, as_json: bool = False, here: Instance | None = None) -> int:
    """Runs the demo on the files directly in ``input_dir``, or on a sample corpus. Returns the exit code: 1 if a proc
    failed, 130 after Ctrl-C. Whatever happens, nothing is left behind; with ``keep`` the instance goes on running.
    ``here``: an instance to run it on, instead of one of its own.

    Raises serr errors: NotFound, NotDir and Inval before anything is started, else what boot or S3 raised.
    """
    inputs = find_inputs(input_dir) if input_dir is not None else None
    view = make_view(as_json=as_json)
    home = Path(tempfile.mkdtemp(prefix="sigmaos-demo-"))
    keeps = False
    try:
        # From here on there is something to clean up, and a signal must lead through the ``finally`` below.
        with ending_on_signals():
            if inputs is None:
                corpus.write_corpus(home / "books")
                inputs = find_inputs(home / "books")
            failed = _run(home / "state", inputs, view) if here is None else _run_here(here, inputs, view)
            keeps = keep
        return 1 if failed else 0
    except KeyboardInterrupt:
        view.line("interrupted")
        return 128 + signal.SIGINT
    finally:
        # The bar first: what the cleaning up has to say would be drawn over by it.
        with _deaf_to_signals():
            view.end()
            _finish(home, view, keeps=keeps)


def find_inputs(directory: Path) -> Inputs:
    """The files directly in a directory, in order of name. NotFound or NotDir if it is none; Inval if none is there."""
    inputs = Inputs([], [])
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError as error:
        raise serr.NotFound(str(directory), "no such directory") from error
    except NotADirectoryError as error:
        raise serr.NotDir(str(directory)) from error
    except OSError as error:
        raise serr.Perm(str(directory), error.strerror) from error
    for entry in entries:
        if why := _why_skipped(entry):
            inputs.skipped.append(f"{entry.name!a}: {why}")
        else:
            inputs.files.append(entry)
    if not inputs.files:
        raise serr.Inval(str(directory), "there is no file in it to count")
    return inputs


def _why_skipped(entry: Path) -> str | None:
    if entry.is_dir():
        return "a directory; only files directly in the input directory are counted"
    if not entry.is_file():
        return "not a regular file"
    if path.is_union(entry.name):
        return "a name with a meaning of its own"
    return path.why_bad_name(entry.name)


def _run(state_dir: Path, inputs: Inputs, view: View) -> int:
    """Boots, counts, and removes what is in S3; the caller stops the instance. Returns how many files could not be
    counted."""
    from kernel import boot  # late: importing it takes a while, and wrong arguments should be told at once

    state_dir.mkdir()
    instance = boot.start_instance(state_dir, own_ray=True, on_line=view.line)
    return _run_in(instance, clnt_env(instance, "demo"), inputs, view)


def _run_here(instance: Instance, inputs: Inputs, view: View) -> int:
    """The same on an instance that runs, as any client of it: from its machines, or from elsewhere."""
    env = client_env()
    view.line(
        f"on the running instance, realm {env.realm}: named at {', '.join(instance.named.addrs)}, "
        f"{len(instance.kernel_nodes)} kernel nodes. Puts {len(inputs.files)} files into the bucket {BUCKET}, spawns a "
        f"proc for each, wherever there is room, and removes what it made"
    )
    return _run_in(instance, env, inputs, view)


def _run_in(instance: Instance, env: ProcEnv, inputs: Inputs, view: View) -> int:
    from sigmaos_ray.testing.s3 import S3

    for line in inputs.skipped:
        view.line(f"skipped {line}")
    with S3(instance) as s3:
        is_new = s3.make_bucket(BUCKET)
        try:
            return asyncio.run(_count_all(env, inputs.files, view))
        finally:
            # A real S3 may have had the bucket before, with things of others in it: those stay.
            if is_new:
                s3.remove_bucket(BUCKET)
            else:
                s3.remove_keys(BUCKET, [f"{PREFIX}/{file.name}" for file in inputs.files])


async def _count_all(env: ProcEnv, files: Sequence[Path], view: View) -> int:
    async with AsyncSigmaClnt(env) as sc:
        failures = await _upload_all(sc, files, view)
        began = time.monotonic()
        uploaded = [file for file in files if file not in failures]
        view.begin("counting, one proc per file", len(uploaded))
        counted = await asyncio.gather(*(_count(sc, file, view) for file in uploaded))
        took_s = time.monotonic() - began
        view.end()
    rows = sorted([*counted, *(Row(file.name, failure=why) for file, why in failures.items())])
    good = [row for row in rows if not row.failure]
    view.table(rows, _total(good, took_s))
    return len(rows) - len(good)


def _total(rows: Sequence[Row], took_s: float) -> Row:
    nodes = len({row.node for row in rows})
    words, the = sum(row.words for row in rows), sum(row.the for row in rows)
    return Row("total", words, the, f"{nodes} node" + "s" * (nodes != 1), took_s)


async def _upload_all(sc: AsyncSigmaClnt, files: Sequence[Path], view: View) -> dict[Path, str]:
    """Puts the files into S3 through the namespace. Returns those that could not be put, and why."""
    failures: dict[Path, str] = {}
    slots = asyncio.Semaphore(_UPLOADS_AT_A_TIME)

    async def one(file: Path) -> None:
        async with slots:
            try:
                await _upload(sc, file)
                view.step(file.name)
            except serr.SigmaError as error:
                failures[file] = f"cannot be uploaded: {error}"
            except OSError as error:
                failures[file] = f"cannot be read: {error.strerror or error}"

    view.begin(f"putting files into {DIRECTORY}", len(files))
    await sc.makedirs(DIRECTORY)
    await asyncio.gather(*(one(file) for file in files))
    view.end()
    return failures


async def _upload(sc: AsyncSigmaClnt, file: Path) -> None:
    with file.open("rb") as source:
        async with sc.create_writer(f"{DIRECTORY}/{file.name}") as writer:
            while chunk := await asyncio.to_thread(source.read, _CHUNK_BYTES):
                await writer.write(chunk)


async def _count(sc: AsyncSigmaClnt, file: Path, view: View) -> Row:
    """One proc for one file; a failure becomes a row as well."""
    proc = Proc("example", [f"{DIRECTORY}/{file.name}"])
    try:
        await sc.spawn(proc)
        row = _row_of(file.name, await sc.wait_exit(proc.pid))
    except serr.SigmaError as error:
        row = Row(file.name, failure=str(error))
    view.step(f"{row.file}: {row.failure or f'{row.words} words, {row.the} the'}")
    return row


def _row_of(name: str, status: Status) -> Row:
    data = status.data
    if not status.is_ok() or not isinstance(data, dict):
        return Row(name, failure=f"{status}")
    return Row(name, int(data["words"]), int(data["the"]), str(data["node"]), float(data["seconds"]))


def _finish(home: Path, view: View, *, keeps: bool) -> None:
    """Stops what was started and removes what was written, unless the user keeps it."""
    state_dir = home / "state"
    if keeps:
        view.line(f"kept: sigmaos --state-dir {state_dir} stop ends it; then remove {home}")
        return
    try:
        if state_dir.exists():
            from kernel import boot  # late: of an instance elsewhere nothing of the kernel is needed here

            boot.stop_instance(state_dir)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """A second Ctrl-C does not stop the cleaning up, which is bounded in time."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
