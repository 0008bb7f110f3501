"""One side of ``test_bench_names.py``, of the checkout that is named.

``python names_child.py servers CHECKOUT ETCD DIR`` prints the addresses of a named and of a ux; ``python names_child.py
client CHECKOUT NAMED UX`` does what it reads (``get 300``), and prints how many seconds each took. Both end with their
input. They have to run with earlier versions of the product too, so they use little of it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.fslib import AsyncFsLib

    Op = Callable[[AsyncFsLib, int], Awaitable[object]]

REALM: Final = "bench-names"
CONTENTS: Final = b"x" * 100


async def _open_read_close(sc: AsyncFsLib, _number: int) -> None:
    fd = await sc.open("name/srv/f")
    assert await sc.read(fd, 1000) == CONTENTS
    await sc.close_fd(fd)


async def _create_close_remove(sc: AsyncFsLib, number: int) -> None:
    await sc.close_fd(await sc.create(f"name/srv/new{number}"))
    await sc.remove(f"name/srv/new{number}")


async def _rename(sc: AsyncFsLib, number: int) -> None:
    await sc.rename(f"name/srv/r{number % 2}", f"name/srv/r{(number + 1) % 2}")


OPS: Final[dict[str, Op]] = {
    "get": lambda sc, _: sc.get_file("name/f"),
    "put": lambda sc, _: sc.put_file("name/f", CONTENTS),
    "stat": lambda sc, _: sc.stat("name/f"),
    "open+read+close": _open_read_close,
    "create+close+remove": _create_close_remove,
    "rename": _rename,
}


async def _serve(etcd: str, directory: str) -> None:
    from fileservers import SERVERS, Place

    from sigmaos_ray import config

    place = Place(directory=Path(directory), etcd_endpoint=etcd, s3=None, realm=REALM)
    servers = [SERVERS[kind].make(place, config.LOCAL) for kind in ("named", "ux")]
    print(*[(await server.start()).addrs[0] for server in servers], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in reversed(servers):
        await server.stop()


async def _measure(named: str, ux: str) -> None:
    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.sigmap import Endpoint

    sc = AsyncFsLib(ProcEnv(pid="bench", realm=REALM, named=Endpoint(addrs=(named,))))
    await sc.put_file("name/f", CONTENTS)
    await sc.mk_endpoint_file("name/srv", Endpoint(addrs=(ux,)))
    for name in ("f", "r0"):
        await sc.put_file(f"name/srv/{name}", CONTENTS)
    print("ready", flush=True)
    number = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, times = line.split()
        op = OPS[name]
        began_s = time.perf_counter()
        # An even number of renames leaves the file where it was.
        for number in range(int(times) // 2 * 2):
            await op(sc, number)
        print((time.perf_counter() - began_s) / (number + 1), flush=True)
    await sc.close_fs()


if __name__ == "__main__":
    role, checkout, first, second = sys.argv[1:]
    sys.path[:0] = [checkout, str(Path(checkout) / "tests")]
    asyncio.run(_serve(first, second) if role == "servers" else _measure(first, second))
