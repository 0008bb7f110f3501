"""``mr run``, ``mr ls``, ``mr stop``: MapReduce jobs."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, ending_on_signals, print_json, print_table, shown

if TYPE_CHECKING:
    from sigmaos_ray.cli.mr_view import JobView
    from user.mr import JobInfo, JobResult, MapReduce

_LOOK_S: Final = 0.25
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    verbs = typer.Typer(no_args_is_help=True, help="MapReduce: run jobs, look at them, stop them.")
    for command in (run, ls, stop):
        verbs.command()(command)
    app.add_typer(verbs, name="mr")


def run(
    job_file: Annotated[Path, typer.Argument(metavar="JOB.yml", help="app, nreduce, binsz, input, output, ...")],
    name: Annotated[str | None, typer.Option(help="A name of your own choice for this run.")] = None,
    as_json: Json = False,
) -> None:
    """Run a job and show how far it is. Ctrl-C stops it. The exit code tells ok from not."""
    from sigmaos_ray.cli.mr_view import ending, make_view
    from user.mr import Job, MapReduce

    job = Job.read(job_file)
    with client() as sc, ending_on_signals():
        running = MapReduce(sc, job, name=name, near=job_file.parent)
        with make_view(as_json=as_json) as view:
            view.line(f"{running.name}: {job.app} on {job.input}")
            with running:
                result = sc.run(_follow(running, view))
        if as_json:
            print_json(msgspec.to_builtins(result) | {"mb_per_s": round(result.mb_per_s, 3)})
        elif result.ok:
            print(ending(result))
    if not result.ok:
        raise serr.Error(result.job, result.error)


async def _follow(running: MapReduce, view: JobView) -> JobResult:
    job = running.asynchronous
    waiting = asyncio.create_task(job.wait(), name="mr-wait")
    try:
        done: set[asyncio.Task[JobResult]] = set()
        while not done:
            done, _ = await asyncio.wait({waiting}, timeout=_LOOK_S)
            with contextlib.suppress(serr.SigmaError):  # it tells how far the job is, and does not end it
                view.show(await job.progress())
        return waiting.result()
    finally:
        # Also after Ctrl-C: the job is stopped by ``with running``, and must not be waited for while it is.
        waiting.cancel()
        await asyncio.wait({waiting})


def ls(as_json: Json = False) -> None:
    """List the jobs: those that run, and those that are over."""
    from user.mr import list_jobs

    with client() as sc:
        jobs = sc.run(list_jobs(sc.asynchronous))
    if as_json:
        print_json(jobs)
        return
    print_table(("JOB", "APP", "STATE", "MAP", "REDUCE", "INPUT MB", "NOTE"), [_row(job) for job in jobs])


def _row(job: JobInfo) -> list[str]:
    progress = job.progress
    note = job.result.error if job.result is not None and job.state == "failed" else ""
    return [
        shown(job.name),
        shown(job.app),
        job.state,
        f"{progress.map.done}/{progress.map.total}",
        f"{progress.reduce.done}/{progress.reduce.total}",
        f"{job.input_bytes / 1e6:.1f}",
        shown(note),
    ]


def stop(name: Annotated[str, typer.Argument(metavar="JOB")]) -> None:
    """Stop a job, whoever runs it. It has no output then."""
    from user.mr import stop_job

    with client() as sc:
        sc.run(stop_job(sc.asynchronous, name))
