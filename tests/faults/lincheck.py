"""Processes of recording clients, and the check of all that they recorded."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from sigmaos_ray.testing.history import decode, encode
from sigmaos_ray.testing.linearizability import HistoryReport, Verdict, check
from sigmaos_ray.testing.models import DirModel, FileModel

if TYPE_CHECKING:
    from file_clients import ClientsRequest

    from sigmaos_ray.testing.history import Operation


class ClientProcesses:
    """Started with the block; ``history`` ends them."""

    def __init__(self, requests: list[ClientsRequest]) -> None:
        self._requests = requests
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        script = str(Path(__file__).with_name("file_clients.py"))
        for request in self._requests:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                script,
                msgspec.json.encode(request).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            self._processes.append(process)
        for process in self._processes:
            assert process.stderr is not None
            assert await process.stderr.readline() == b"works\n"
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def history(self) -> list[Operation]:
        """Lets the clients end what they are at; returns what all of them did."""
        outputs = await asyncio.wait_for(asyncio.gather(*(process.communicate(b"") for process in self._processes)), 60)
        for _, err in outputs:
            assert not err, err.decode()
        return [operation for out, _ in outputs for operation in decode(out)]


def check_kept(history: list[Operation], directory: Path) -> HistoryReport:
    """``check_all``; a history that does not pass stays in a file, to be looked at again."""
    report = check_all(history)
    if not report.is_ok:
        file = directory / "history"
        file.write_bytes(encode(history))
        print(f"the history is in {file}")
    return report


def check_all(history: list[Operation]) -> HistoryReport:
    """Files against the model of files, directories against that of directories; the first that is wrong counts."""
    is_dir = {each.key for each in history if each.key.rpartition("/")[2].startswith("d")}
    for model, part in (
        (FileModel(), [each for each in history if each.key not in is_dir]),
        (DirModel(), [each for each in history if each.key in is_dir]),
    ):
        report = check(part, model)
        if not report.is_ok:
            return report
    return HistoryReport(Verdict.LINEARIZABLE)


def summary(history: list[Operation]) -> str:
    unknown = sum(not each.is_known for each in history)
    return f"{len(history)} operations of {len({each.client for each in history})} clients, {unknown} unknown outcomes"
