"""A node's logs as a schedd shows them: what may be read, and what must not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kernel.schedd.logs import LogDir, LogFile
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, OpenHow
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import ORDWR

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = Caller()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    (logs / "procs" / ".spares").mkdir(parents=True)
    (logs / "boot.log").write_bytes(b"boots\n")
    (logs / "procs" / "p.log").write_bytes(b"0123456789")
    (tmp_path / "secret.log").write_bytes(b"secret")
    return logs


@pytest.fixture
def logs(host: Path) -> LogDir:
    return LogDir.of_node(str(host))


async def read(directory: Dir, *names: str, offset: int = 0, count: int = 100) -> bytes:
    node = (await directory.walk(NOBODY, names))[-1]
    opened = await node.open(NOBODY, OpenHow())
    try:
        return await opened.read(offset, count)
    finally:
        await opened.close()


async def names(directory: Dir, after: str = "", limit: int = 100) -> list[str]:
    return [entry.name for entry in await directory.entries(NOBODY, after, limit)]


async def test_parts_and_procs(logs: LogDir) -> None:
    assert await names(logs) == ["boot.log", "procs"]
    assert await read(logs, "boot.log") == b"boots\n"
    procs = await logs.lookup(NOBODY, "procs")
    assert isinstance(procs, Dir)
    assert [(entry.name, entry.length) for entry in await procs.entries(NOBODY, "", 9)] == [("p.log", 10)]


async def test_a_log_is_read_in_parts_while_it_grows(logs: LogDir, host: Path) -> None:
    assert await read(logs, "procs", "p.log", offset=2, count=3) == b"234"
    node = (await logs.walk(NOBODY, ["procs", "p.log"]))[-1]
    opened = await node.open(NOBODY, OpenHow())
    assert await opened.read(10, 5) == b""
    with (host / "procs" / "p.log").open("ab") as log:
        log.write(b"more")
    assert await opened.read(10, 5) == b"more"
    assert (await node.stat(NOBODY)).length == 14
    await opened.close()


async def test_it_is_read_only(logs: LogDir) -> None:
    node = (await logs.walk(NOBODY, ["boot.log"]))[-1]
    with pytest.raises(serr.NotSupported):
        await node.open(NOBODY, OpenHow(mode=ORDWR))
    with pytest.raises(serr.NotSupported):
        await node.remove(NOBODY)
    with pytest.raises(serr.NotSupported):
        await logs.create(NOBODY, "mine.log", OpenHow())


async def test_nothing_leads_out(logs: LogDir, host: Path) -> None:
    """Procs may put there what they like."""
    procs = host / "procs"
    (procs / "link.log").symlink_to("../../secret.log")
    (procs / "directory.log").mkdir()
    os.mkfifo(procs / "pipe.log")
    (procs / "other").write_bytes(b"no log")
    assert await names(LogDir("procs", str(procs))) == ["p.log"]
    odd = ["link.log", "directory.log", "pipe.log", "other", "../boot.log", "../../secret.log", ".spares", "x\0.log"]
    for name in odd:
        with pytest.raises(serr.NotFound):
            await LogDir("procs", str(procs)).lookup(NOBODY, name)


async def test_the_directory_of_procs_is_no_link(host: Path) -> None:
    (host / "procs" / "p.log").unlink()
    (host / "procs" / ".spares").rmdir()
    (host / "procs").rmdir()
    (host / "procs").symlink_to(host.parent)
    procs = await LogDir.of_node(str(host)).lookup(NOBODY, "procs")
    assert isinstance(procs, Dir)
    assert await names(procs) == []
    with pytest.raises(serr.NotFound):
        await procs.lookup(NOBODY, "secret.log")


async def test_a_log_that_became_a_link_is_not_followed(logs: LogDir, host: Path) -> None:
    node = await logs.lookup(NOBODY, "boot.log")
    assert isinstance(node, LogFile)
    (host / "boot.log").unlink()
    (host / "boot.log").symlink_to("../secret.log")
    with pytest.raises(serr.NotFound):
        await node.open(NOBODY, OpenHow())


async def test_pages_of_many(logs: LogDir, host: Path) -> None:
    for number in range(10):
        (host / "procs" / f"n{number}.log").touch()
        (host / "procs" / f"m{number}.log").symlink_to("/nowhere")
    procs = LogDir("procs", str(host / "procs"))
    listed, after = [], ""
    while page := await names(procs, after, 3):
        listed += page
        after = page[-1]
    assert listed == [*(f"n{number}.log" for number in range(10)), "p.log"]


async def test_the_same_directory_is_known_again(logs: LogDir, host: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    assert LogDir.of_node(str(host)).qid() == logs.qid()
    assert LogDir.of_node(str(tmp_path / "others")).qid() != logs.qid()


async def test_records(tmp_path: Path) -> None:
    for name in ("p-pprof.out", "p-pprof.svg", "p-pprof.speedscope.json", "p.log", "raw"):
        (tmp_path / name).write_bytes(b"x")
    records = LogDir.of_records(str(tmp_path))
    assert await names(records) == ["p-pprof.out", "p-pprof.speedscope.json", "p-pprof.svg"]
    with pytest.raises(serr.NotFound):
        await records.lookup(NOBODY, "raw")


async def test_a_node_without_logs() -> None:
    for log_dir in ("", "/nowhere"):
        logs = LogDir.of_node(log_dir)
        assert await names(logs) == ["procs"]
        with pytest.raises(serr.NotFound):
            await logs.lookup(NOBODY, "boot.log")
