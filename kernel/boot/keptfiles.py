"""The files that services keep below an instance's state directory, and how they are forgotten."""

from __future__ import annotations

import glob
import shutil
from typing import TYPE_CHECKING, Final

from kernel.service import all_services

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ETCD_DIR_NAME: Final = "etcd"
"""In the state directory: what the embedded etcd keeps."""
_NODES_DIR_NAME: Final = "nodes"
"""In the state directory: below it, by number, what further nodes of one host keep."""


def node_dir(state_dir: Path, number: int) -> Path:
    """``KernelArgs.node_dir`` of a host's node of that number, from 1. Each has files of its own: no two ux serve one
    directory, since neither would know of the other's fences and leases."""
    return state_dir if number == 1 else state_dir / _NODES_DIR_NAME / str(number)


def forget_all(state_dir: Path) -> None:
    """Removes what was kept for any realm, as far as it can be removed. Only while nothing runs."""
    patterns = [pattern.format(realm="*") for service in all_services() for pattern in service.keeps]
    _remove([state_dir / ETCD_DIR_NAME, *_matching(state_dir, patterns), state_dir / _NODES_DIR_NAME])


def forget_realm(state_dir: Path, realm: str) -> None:
    """Removes what was kept for one tenant, which is down."""
    patterns = [
        pattern.format(realm=glob.escape(realm))
        for service in all_services()
        for pattern in service.keeps
        if "{realm}" in pattern
    ]
    _remove(_matching(state_dir, patterns))


def _matching(state_dir: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for directory in (state_dir, *state_dir.glob(f"{_NODES_DIR_NAME}/*")):
        for pattern in patterns:
            yield from directory.glob(pattern)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
