"""What a file server can do: the part of its contract that its author declares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """What a server can do: all of it, by default. What it lacks is declared, not left out: the tests concerned then
    demand that it refuses (NotSupported, where nothing else is said here) and that nothing has changed."""

    rename: bool = True
    append: bool = True
    """OAPPEND, of opens and of puts."""
    read_write: bool = True
    """ORDWR."""
    parents_come: bool = False
    """Whatever is made makes the directories above it, as in S3; elsewhere they are NotFound."""
    writes_in_place: bool = True
    """False: what is opened for writing is written from 0 on, without gaps (Inval), takes the place of the file, and
    is seen at the close (B-2). Then ``append`` and ``read_write`` are false too."""
    keeps_removed: bool = True
    """A file that was removed or replaced stays readable for those who have it open."""
    links: bool = True
    """Symlinks and endpoint files."""
    devices: bool = True
    """Device files, which leaders write."""
    pipes: bool = True
    leases: bool = True
    fences: bool = True
    shows_fences: bool = True
    """``.fences`` in the root of the server. False: NotFound."""
    transactions: bool = True
    """Several changes in one moment, conditions on versions, sequential names."""
    watches: bool = True
    mtime: bool = True
    """False: modification times are 0."""
    versions: bool = True
    """A qid's version moves with each write, a directory's with each change of its entries."""
    puts_keep_qid: bool = True
    """A put changes what is in a file. False: it may put a new file, with another qid path, in its place."""
    reports: bool = True
    """``.statsd`` in the root of the server. False: NotFound."""
    durable: bool = True
    """Files outlive the server's process. False: a new process begins empty."""
    lasting_fences: bool = True
    """So do fences. False: a new process knows none."""
    names_refused: tuple[str, ...] = ()
    """Names that other servers take, and the store behind this one does not: an error, and nothing is made."""
    file_bytes_max: int | None = None
    """Larger files are Inval, and the message has this number in it. None: files of any size that tests have."""
    entries_count: int = 1000
    """How many entries a large directory of a test has."""
    racers_count: int = 20
    """How many clients' calls race for one name."""
    rounds_count: int = 25
    """How often a race is run whose outcome depends on the moment."""
