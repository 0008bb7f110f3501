"""A process of clients that work on few files at random, and record it: ``python file_clients.py JSON``. It works until
its standard input ends, and then writes the history to its standard output."""

from __future__ import annotations

import asyncio
import random
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import OAPPEND, OEXCL, OWRITE
from sigmaos_ray.testing.history import Operation, Recorder, encode

if TYPE_CHECKING:
    from collections.abc import Callable

_WEIGHTS: Final = {"create": 2, "put": 2, "append": 2, "get": 4, "remove": 1}
_DIR_WEIGHTS: Final = {"create": 3, "remove": 3, "has": 4}


class ClientsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of clients is to do."""

    state_file: str
    realm: str
    process: str
    seed: int
    clients_count: int = 4
    files_count: int = 10
    directory: str = "name/ux"
    pause_s: float = 0.0
    """Between two operations of a client."""


class FileClient:
    """Works on files, one operation at a time."""

    def __init__(self, sc: AsyncSigmaClnt, request: ClientsRequest, number: int) -> None:
        self._sc = sc
        self._request = request
        self._chance = random.Random(f"{request.seed} {request.process} {number}")
        self.recorder = Recorder(f"{request.process}.{number}")
        self._count = 0

    async def work(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            if self._chance.random() < 0.25:
                await self._change_entry()
            else:
                await self._change_file()
            await asyncio.sleep(self._request.pause_s)

    def _choose(self, weights: dict[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]

    async def _change_file(self) -> None:
        self._count += 1
        name = self._choose(_WEIGHTS)
        pn = f"{self._request.directory}/f{self._chance.randrange(self._request.files_count)}"
        data = f"{self.recorder.client}-{self._count} ".encode() if name not in ("get", "remove") else b""
        sc = self._sc
        calls = {
            "create": lambda: sc.put_file(pn, data, mode=OWRITE | OEXCL),
            "put": lambda: sc.put_file(pn, data),
            "append": lambda: sc.put_file(pn, data, mode=OWRITE | OAPPEND),
            "get": lambda: sc.get_file(pn),
            "remove": lambda: sc.remove(pn),
        }
        await self.recorder.run(pn, name, data, calls[name])

    async def _change_entry(self) -> None:
        name = self._choose(_DIR_WEIGHTS)
        directory = f"{self._request.directory}/d{self._chance.randrange(3)}"
        entry = self._chance.choice("abc")
        pn, sc = f"{directory}/{entry}", self._sc
        calls = {
            "create": lambda: sc.put_file(pn, b"", mode=OWRITE | OEXCL),
            "remove": lambda: sc.remove(pn),
            "has": lambda: sc.stat(pn),
        }
        await self.recorder.run(directory, name, entry, calls[name])


async def _main(request: ClientsRequest) -> list[Operation]:
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    env = ProcEnv(pid=request.process, realm=request.realm, state_file=request.state_file)
    async with AsyncSigmaClnt(env) as first, AsyncSigmaClnt(env) as second:
        for number in range(3):
            try:
                await first.mkdir(f"{request.directory}/d{number}")
            except serr.Exists:
                continue
        clients = [FileClient((first, second)[n % 2], request, n) for n in range(request.clients_count)]
        print("works", file=sys.stderr, flush=True)
        await asyncio.gather(*(client.work(ended.done) for client in clients))
    await close_channels()
    return [operation for client in clients for operation in client.recorder.operations]


if __name__ == "__main__":
    history = asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=ClientsRequest)))
    sys.stdout.buffer.write(encode(history))
