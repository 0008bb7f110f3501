"""The folders of programs that a schedd's procs came with, for workers that do not have them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from kernel.raylib import packages
from sigmaos_ray import debug, serr
from sigmaos_ray.machine import machine

if TYPE_CHECKING:
    from sigmaos_ray.pb import proc_pb2 as pb

_log = debug.selector("SCHEDD")

_NAME: Final = re.compile(r"[0-9a-f]{32}_(?P<owner>\w{1,100})", re.ASCII)


class Packages:
    """Those that were used last. On the schedd's loop."""

    def __init__(self, kernel_id: str, kept_max: int) -> None:
        # A package is its schedd's own: of another one's nobody here knows how long it stays.
        self._owner = re.sub(r"\W", "_", kernel_id)
        self._kept_max = kept_max
        self._kept: OrderedDict[str, None] = OrderedDict()

    def is_wanted(self, request: pb.PackageRequest, hosts_count: int) -> bool:
        """Whether a folder is to be shipped: unless all workers are on its machine, and import from it anyhow."""
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return hosts_count > 1 or request.machine != machine() or request.folder not in map(os.path.realpath, paths)

    def use(self, package: str) -> None:
        """Before a proc of that package is taken. Version for one of this schedd's that is not here (any more): it is
        to be put again. Inval for what is no name of one."""
        match = _NAME.fullmatch(package)
        if match is None:
            raise serr.Inval(package, "not the name of a package")
        if match["owner"] != self._owner:  # a child's, whose parent another schedd has
            return
        if package not in self._kept:
            raise serr.Version(package, "the folder of programs is not here: it is to be put first")
        self._kept.move_to_end(package)

    async def put(self, data: bytes) -> str:
        """Returns its name once workers can have it."""
        package = f"{hashlib.sha256(data).hexdigest()[:32]}_{self._owner}"
        await asyncio.to_thread(packages.put, package, data)
        self._kept[package] = None
        _log(f"package {package}: {len(data)} bytes")
        while len(self._kept) > self._kept_max:
            oldest, _ = self._kept.popitem(last=False)
            await asyncio.to_thread(packages.delete, oldest)
        return package
