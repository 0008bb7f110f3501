"""``start``, ``stop``, ``status``, ``fail``, ``demo``: the instance as a whole."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kernel.service import service_names
from sigmaos_ray.cli import context
from sigmaos_ray.cli.context import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.instance import KernelNode

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    for command in (start, stop, status, fail, demo):
        app.command()(command)


def start(
    clean: Annotated[bool, typer.Option("--clean", help="Forget what earlier runs kept in etcd and ux.")] = False,
    num_cpus: Annotated[int | None, typer.Option(min=1, help="Cores of an own Ray (default: all).")] = None,
    named_count: Annotated[int | None, typer.Option(min=1, help="Nameds: one leads, the others stand by.")] = None,
    etcd_members: Annotated[
        int | None, typer.Option(min=1, help="Hosts that keep etcd's data: 3 bear the loss of any one, the head's too.")
    ] = None,
    own_ray: Annotated[bool, typer.Option("--own-ray", help="Start a Ray even if one runs.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="With Ray's dashboard, for an own Ray.")] = False,
    services: Annotated[str | None, typer.Option(help=f"Only these, with commas: {','.join(service_names())}.")] = None,
    as_json: Json = False,
) -> None:
    """Start SigmaOS on this machine, in the running Ray if there is one."""
    from kernel import boot

    _check_selectors()
    # Whatever ends this command before all is ready takes down what was started, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    chosen = [name for name in services.split(",") if name] if services is not None else None
    started = boot.start_instance(
        context.state_dir(),
        services=chosen,
        clean=clean,
        num_cpus=num_cpus,
        named_count=named_count,
        etcd_members=etcd_members,
        own_ray=own_ray or None,
        dashboard=dashboard or None,
        on_line=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )
    if as_json:
        print_json(started)


def _check_selectors() -> None:
    """Inval for a fault that nothing has; a line on standard error for a debug selector that nobody declares."""
    from sigmaos_ray.cli import catalogue

    catalogue.check_faults(os.environ.get("SIGMAFAIL", ""))
    for unknown in catalogue.unknown_selectors(os.environ.get("SIGMADEBUG", "")):
        sys.stderr.write(f"sigmaos: SIGMADEBUG: nothing of SigmaOS has {unknown}; it is left to your programs\n")


TEMPORARY: Final = ("sigmaos-test-", "sigmaos-demo-")
"""How names of state directories begin that go with a run of tests or of the demo."""


def stop(
    everything: Annotated[
        bool, typer.Option("--all", help="All instances of yours on this machine, and what crashed ones left.")
    ] = False,
) -> None:
    """Stop the instance; what etcd and ux keep stays for the next start."""
    from kernel import boot

    if everything:
        _stop_all()
        return
    stopped = boot.stop_instance(context.state_dir())
    print("stopped" if stopped else "no instance is running")


def _stop_all() -> None:
    from kernel.boot.instances import stop_instances

    with context.Failures() as failures:
        results = stop_instances(TEMPORARY, lambda line: print(line, flush=True))
        for error in filter(None, results.values()):
            failures.tell(error)
    if not results:
        print("no instance is running")


def status(as_json: Json = False) -> None:
    """Show what runs. Exit code 1 if nothing does."""
    running = context.running_instance()
    if as_json:
        print_json(running)
        return
    print(f"realm      {running.realm}")
    print(f"named      {', '.join(running.named.addrs)}")
    if running.tls:
        print(f"tls        {running.tls}")
    print(f"etcd       {', '.join(running.etcd_endpoints)} {running.etcd_version}".rstrip())
    s3 = running.s3_endpoint or (
        f"AWS, profile {running.s3_credentials_profile}" if running.s3_credentials_profile else "none"
    )
    print(f"s3         {s3}")
    print(f"ray        {running.ray_address}")
    print(f"state      {running.state_dir}")
    if running.realms:
        print(f"tenants    {', '.join(sorted(running.realms))}")
    rows = [row for node in running.kernel_nodes for row in _rows(node)]
    print_table(["KERNEL NODE", "SERVICE", "ADDRESS", "PID", "STATE"], rows)


def _rows(node: KernelNode) -> Iterator[list[str]]:
    for name in dict.fromkeys([*node.services, *node.parts]):
        info, part = node.services.get(name), node.parts.get(name)
        where = [f"{info.host}:{info.port}", str(info.pid)] if info is not None else [node.host, "-"]
        state = f"{part.state}: {part.cause}" if part is not None and part.cause else part.state if part else "running"
        yield [node.id or "-", name, *where, state]


def fail(
    list_all: Annotated[bool, typer.Option("--list", help="List the labels of SIGMAFAIL.")] = False,
) -> None:
    """Show what SIGMAFAIL can break."""
    if not list_all:
        raise typer.BadParameter("say --list")
    from sigmaos_ray.cli.catalogue import catalogue

    print_table(["LABEL", "WHAT"], [[label, line] for label, line in sorted(catalogue().faults.items())])


def demo(
    input_dir: Annotated[
        Path | None, typer.Option("--input", help="Text files to count instead of the samples.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the instance running.")] = False,
    here: Annotated[
        bool, typer.Option("--here", help="On the instance that runs: also from a worker, or with SIGMAOS_NAMED.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Count words in S3 with one proc per file, on an instance of its own that goes afterwards; or on yours."""
    from sigmaos_ray.cli.demo import run_demo

    if here and keep:
        raise typer.BadParameter("--keep is for an instance of the demo's own: with --here yours goes on anyhow")
    running = context.running_instance() if here else None
    raise typer.Exit(run_demo(input_dir, keep=keep, as_json=as_json, here=running))
