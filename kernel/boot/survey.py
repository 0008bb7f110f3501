"""What boot does on the host of each Ray node, by a task there: looks who it is, and forgets what was removed while it
was away. Imports no Ray."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel.boot import certificates, keptfiles
from kernel.boot.identity import Survey
from sigmaos_ray.auth import files
from sigmaos_ray.machine import OsProcess, machine
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kernel.boot.keptfiles import RemovalRecord

_FILE_NAME: Final = "kernel-id"


def look(
    state_dir: str,
    recorded: RemovalRecord,
    raylets: Mapping[str, OsProcess],
    certified: Sequence[str] = (),
    credentials: bytes = b"",
) -> Survey:
    """Of this process's host. ``raylets``: of other Ray nodes, of which it tells those that have ended here.
    ``certified``: the addresses for which it is to ask for a certificate, if it needs one. ``credentials``: for the
    root realm's clients here; empty: they are here. OSError if the state directory cannot be made or read."""
    directory = Path(state_dir)
    directory.mkdir(parents=True, exist_ok=True)
    if credentials:
        keep_credentials(state_dir, credentials)
    keptfiles.forget_removed(directory, recorded)
    return Survey(
        machine=machine(),
        host_name=socket.gethostname(),
        kernel_ids=_kernel_ids(directory),
        raylet=OsProcess.of(os.getppid()),  # who starts Ray's workers
        gone=tuple(node for node, raylet in raylets.items() if raylet.is_gone()),
        certificate_request=certificates.request_of(state_dir, certified) if certified else b"",
    )


def _kernel_ids(state_dir: Path) -> dict[int, str]:
    found = {}
    for number, directory in keptfiles.node_dirs(state_dir).items():
        try:
            found[number] = (directory / _FILE_NAME).read_text().strip()
        except (FileNotFoundError, UnicodeDecodeError):
            continue
    return found


def keep(state_dir: str, number: int, kernel_id: str) -> None:
    """Keeps the id of this host's node of that number, for the next time. OSError if the disk does not take it."""
    directory = keptfiles.node_dir(Path(state_dir), number)
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / f"{_FILE_NAME}.new"
    new.write_text(f"{kernel_id}\n")
    new.replace(directory / _FILE_NAME)


def keep_credentials(state_dir: str, credentials: bytes) -> None:
    """What clients of the root realm on this host show. OSError if the disk does not take it."""
    files.write(files.file_of(state_dir, ROOT_REALM), files.from_bytes(credentials))


def forget(state_dir: str, recorded: RemovalRecord) -> None:
    """What was removed just now, on this host."""
    keptfiles.forget_removed(Path(state_dir), recorded)
