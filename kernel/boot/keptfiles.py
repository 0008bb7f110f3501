"""The files that services keep below an instance's state directory on each of its hosts, and how they are forgotten.

What is removed goes at once from the hosts that are there. It also goes on record beside boot, and each host keeps a
record of what it has forgotten: so who was away forgets it when it comes back.
"""

from __future__ import annotations

import glob
import secrets
import shutil
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.keeping import KeptFile, opening
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


def node_dirs(state_dir: Path) -> dict[int, Path]:
    """Those that are there, by number."""
    below = (directory for directory in state_dir.glob(f"{_NODES_DIR_NAME}/*") if directory.name.isdecimal())
    return {1: state_dir} | {int(directory.name): directory for directory in below}


def forget_all(state_dir: Path) -> None:
    """Removes what was kept for any realm on this host, as far as it can be removed. Only while nothing runs."""
    _forget_files(state_dir)
    _remove([state_dir / ETCD_DIR_NAME, state_dir / _NODES_DIR_NAME])


def _forget_files(state_dir: Path) -> None:
    """Without etcd's, and without the ids of nodes."""
    patterns = [pattern.format(realm="*") for service in all_services() for pattern in service.keeps]
    _remove(_matching(state_dir, patterns))


# -- on record


EVERYTHING: Final = "*"
"""In the place of a realm's name."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """A realm was removed, with what it kept."""

    id: str
    realm: str


class RemovalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, in order."""

    instance: str
    """Whose record it is: a host that comes from another instance has nothing that was removed in this one."""
    removals: tuple[Removal, ...] = ()


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    """On each host: which removals of which instance it has done."""

    instance: str
    ids: tuple[str, ...]


def _record_file(state_dir: Path) -> KeptFile[RemovalRecord]:
    return KeptFile(opening(state_dir), "removals", RemovalRecord, syncs=True)


def record(state_dir: Path) -> RemovalRecord:
    """Beside boot. Error if it is damaged."""
    file = _record_file(state_dir)
    if (present := file.read()) is not None:
        return present
    new = RemovalRecord(instance=secrets.token_hex(8))
    file.update(lambda present: present or new)
    return new


def record_removal(state_dir: Path, realm: str) -> None:
    """Of one realm, or of ``EVERYTHING``. A later one counts for the earlier: what is on record grows with names, not
    with removals."""
    before = record(state_dir)
    others = [removal for removal in before.removals if realm not in (removal.realm, EVERYTHING)]
    removals = (*others, Removal(id=secrets.token_hex(8), realm=realm))
    _record_file(state_dir).update(lambda _: RemovalRecord(instance=before.instance, removals=removals))


def forget_removed(state_dir: Path, recorded: RemovalRecord) -> None:
    """On each host: removes what it has not removed yet, and keeps in mind that it did. A host that was no part of the
    instance so far removes nothing: what it has is somebody else's."""
    done_file = KeptFile(opening(state_dir), "removals-done", _Done, syncs=False)
    done = done_file.read()
    if done is not None and done.instance == recorded.instance:
        for removal in recorded.removals:
            if removal.id in done.ids:
                continue
            if removal.realm == EVERYTHING:
                _forget_files(state_dir)
            else:
                forget_realm(state_dir, removal.realm)
    now = _Done(instance=recorded.instance, ids=tuple(removal.id for removal in recorded.removals))
    if now != done:
        done_file.update(lambda _: now)


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
