"""A file server as a process of its own, to be stopped: ``python server_process.py KIND REALM DIRECTORY``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sigmaos_ray import config

sys.path.append(str(Path(__file__).parents[1]))

from fileservers import SERVERS, Place


async def _main(kind: str, realm: str, directory: str) -> None:
    place = Place(directory=Path(directory), etcd_endpoint="", s3=None, realm=realm)
    endpoint = await SERVERS[kind].make(place, config.LOCAL).start()
    print(endpoint.addrs[0], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
