"""A ux in a process of its own, which a test may kill."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[3]
WAIT_S = 20.0


@asynccontextmanager
async def crashing(root: Path) -> AsyncIterator[tuple[AsyncFsLib, asyncio.subprocess.Process]]:
    """A ux in a process of its own, and a client of it; killed at the end if the test did not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("crashing.py")),
        str(root),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode().strip()
        sc = AsyncFsLib(ProcEnv(pid="test", named=Endpoint(addrs=(address,))))
        yield sc, process
        await sc.close_fs()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await close_channels()
