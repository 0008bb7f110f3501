"""Where certificates lie, and the name that each host's has. Neither ``ssl`` nor ``cryptography`` is imported here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PEER_NAME: Final = "sigmaos-ray"
"""In the certificate of every host of an instance, and in no other: clients ask for it, whatever the address is."""

AUTHORITY: Final = "ca.pem"
AUTHORITY_KEY: Final = "ca.key"
"""Where boot is, and nowhere else."""
CERTIFICATE: Final = "host.pem"
KEY: Final = "host.key"
ETCD_SOCKET: Final = "etcd:0"
"""Where the host's own etcd takes the named there without TLS: the directory lets in nobody else. etcd wants a name
that looks like an address."""


def tls_dir(state_dir: Path) -> Path:
    """Where each host of an instance has its certificate and its key."""
    return state_dir / "auth" / "tls"


def make_private_dir(directory: Path) -> None:
    """A directory of its owner alone, and the one above it, if they are not there. OSError."""
    for each in (directory.parent, directory):
        each.mkdir(parents=True, exist_ok=True, mode=0o700)


def write_whole(file: Path, data: bytes) -> None:
    """A file of mode 600, which appears whole. OSError."""
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def write_first(file: Path, data: bytes) -> bool:
    """The same, unless there is such a file: of several who do so at a time, one wins. Whether it was this one."""
    new = file.with_name(f"{file.name}.{os.getpid()}.first")
    write_whole(new, data)
    try:
        os.link(new, file)
    except FileExistsError:
        return False
    finally:
        new.unlink()
    return True
