"""What s3 decides without asking S3: keys and names, pages in order of name, versions, what to read ahead. Pure."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDIR, OACCESS_MASK, OAPPEND, ORDWR, Mode, Perm, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE_PERM: Final[Perm] = 0o777
"""S3 keeps no permissions."""
DIR_PERM: Final[Perm] = DMDIR | FILE_PERM

MARKER: Final = "_._"
"""The object that mkdir puts into a directory, so that it exists while it is empty. Never shown."""

KEY_BYTES_MAX: Final = 1024
"""S3's own limit."""

_NO_TEXT: Final = "\ufffd"

_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0, in which S3 is asked and answers, has no way to write."""

VERSIONS_KEPT_MAX: Final = 65_536
"""Versions remembered of objects and directories."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """What S3 says of an object."""

    size: int
    etag: str
    mtime: float
    """Seconds since 1970; S3 keeps whole ones."""


class KeyPage(msgspec.Struct, frozen=True):
    """Keys in S3's order, with what they hold."""

    keys: list[tuple[str, ObjectInfo]]
    is_last: bool


class DirPage(msgspec.Struct, frozen=True):
    """One page of S3's listing of a directory: names within it, each kind in S3's order."""

    files: list[tuple[str, ObjectInfo]]
    dirs: list[str]
    is_last: bool
    next_token: str = ""


def join_key(prefix: str, name: str) -> str:
    """The key of an entry of the directory that ``prefix`` (``""``: the bucket) names."""
    return f"{prefix}/{name}" if prefix else name


def within(prefix: str) -> str:
    """What all keys in a directory begin with."""
    return f"{prefix}/" if prefix else ""


def markers(prefix: str) -> frozenset[str]:
    """Keys that make a directory without being entries of it: mkdir's, and the one that S3's own console makes."""
    return frozenset({join_key(prefix, MARKER), within(prefix)})


def is_shown(name: str) -> bool:
    """True for names that a pathname can hold, the marker excepted: not empty (``a//b``), not ``.``, ``..`` or one that
    clients resolve, at most 255 bytes, and text. What S3 keeps as other bytes arrives with ``\\ufffd`` in it, and would
    be looked for under another key. All else is neither listed nor found."""
    return name != MARKER and _NO_TEXT not in name and not path.is_union(name) and path.why_bad_name(name) is None


def is_reachable(key: str, prefix: str) -> bool:
    """True for a key in a directory that is shown along its whole way, and for one that marks a directory there."""
    *way, last = key[len(within(prefix)) :].split("/")
    return all(is_shown(name) for name in way) and (last in (MARKER, "") or is_shown(last))


def fits_xml(key: str) -> bool:
    """False for a key that no XML can carry: other programs may have made it, by its URL."""
    return _NO_XML.search(key) is None


def may_exist(key: str) -> bool:
    """False for a key that S3 cannot have: it is not asked for."""
    return len(key.encode()) <= KEY_BYTES_MAX


def dirs_above(key: str, prefix: str) -> list[str]:
    """The directories below ``prefix`` that a key lies in, from the top on."""
    names = key[len(within(prefix)) :].split("/")[:-1]
    return [join_key(prefix, "/".join(names[:count])) for count in range(1, len(names) + 1)]


def entries_along(key: str, prefix: str) -> list[tuple[str, str]]:
    """Directories from ``prefix`` on, each with the entry in it that leads to a key. Marks are no entries."""
    names = key[len(within(prefix)) :].split("/")
    shown = names[:-1] if names[-1] in (MARKER, "") else names
    return list(zip([prefix, *dirs_above(key, prefix)], shown, strict=False))


def check_new_key(name: str, key: str, extra_bytes: int = 0) -> None:
    """Inval for a key that S3 or the namespace could not hold, with so many bytes behind it."""
    if name == MARKER:
        raise serr.Inval(name, "the mark of a directory")
    if not is_shown(name):
        raise serr.Inval(name, path.why_bad_name(name) or "a name that S3's directories do not show")
    if not fits_xml(key):
        raise serr.Inval(name, "S3's XML has no way to write a control character of it")
    size = len(key.encode()) + extra_bytes
    if size > KEY_BYTES_MAX:
        raise serr.Inval(name, f"a key has at most {KEY_BYTES_MAX} bytes, this one {size}")


def check_writable(name: str, mode: Mode) -> None:
    """NotSupported for modes that S3 has not: appending, and reading what is being written."""
    if mode & OAPPEND:
        raise serr.NotSupported(name, "S3 cannot append")
    if mode & OACCESS_MASK == ORDWR:
        raise serr.NotSupported(name, "S3 files are opened for reading or for writing, not both")


def before_unions(names: Sequence[str]) -> list[str]:
    """The names of a way that this server may look at: ``~any`` and ``~local`` are the client's matter."""
    return list(itertools.takewhile(lambda name: not path.is_union(name), names))


def qid_path(bucket: str, key: str) -> int:
    """A stable number for an object or a directory, below 2^63; the server's own entries lie above."""
    digest = hashlib.blake2b(f"{bucket}/{key}".encode(), digest_size=8).digest()
    # A hash, as S3 has no numbers: two names with one number would need billions of objects.
    return int.from_bytes(digest, "big") >> 1


# -- listings in order of name


def late_dirs(last_name: str, after: str, names: Iterable[str]) -> list[str]:
    """Directories that may still be to come in S3's order though their names sort before ``last_name``.

    S3 sorts a directory as its name and ``/``, so ``a-b`` comes before ``a``. Whoever wants the order of names must
    look for those that are a beginning of the last name, followed there by a character that sorts before ``/``.
    ``names``: those that have come.
    """
    have_come = set(names)
    return [
        last_name[:end]
        for end in range(1, len(last_name))
        if last_name[end] < "/" and last_name[:end] > after and last_name[:end] not in have_come
    ]


def merge(listing: DirPage, after: str) -> dict[str, ObjectInfo | None]:
    """Entries of a page, by name, that sort after ``after``; None for a directory. A file hides a directory of its
    name."""
    merged: dict[str, ObjectInfo | None] = {name: None for name in listing.dirs if is_shown(name) and name > after}
    # Files last, so that one hides a directory of its name, as in ``S3Dir._find``.
    merged.update((name, info) for name, info in listing.files if is_shown(name) and name > after)
    return merged


def last_name(listing: DirPage) -> str:
    """The name that comes last in S3's order."""
    ends = [name for name, _ in listing.files[-1:]] + [f"{name}/" for name in listing.dirs[-1:]]
    return max(ends).rstrip("/")


# -- versions


class KeyVersions:
    """Versions of objects and directories, by bucket and key. They grow with each change made through this server;
    a change made elsewhere shows in an object's ETag."""

    def __init__(self, now_ns: int, kept_max: int = VERSIONS_KEPT_MAX) -> None:
        self._entries: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()
        """Version and ETag, the longest untouched first."""
        self._kept_max = kept_max
        self._floor = now_ns

    def of_dir(self, bucket: str, prefix: str) -> int:
        """Since this server started; what it no longer remembers moves along with the latest it forgot."""
        entry = self._entries.get((bucket, within(prefix)))
        return self._floor if entry is None else entry[0]

    def of_object(self, bucket: str, key: str, info: ObjectInfo) -> int:
        """Of the object as S3 shows it now."""
        entry = self._entries.get((bucket, key))
        if entry is not None and entry[1] == info.etag:
            return entry[0]
        # Without memory, so that two servers, and one before and after a restart, show the same of one object. S3's
        # times are whole seconds: the ETag tells apart what was written within one.
        stateless = int(info.mtime) * 1_000_000_000 + _number(info.etag) % 1_000_000_000
        if entry is None or not info.etag:  # one without an ETag is not in S3 yet
            return stateless if entry is None else entry[0]
        return self._keep((bucket, key), max(stateless, entry[0] + 1), info.etag)

    def move_dir(self, bucket: str, prefix: str, now_ns: int) -> None:
        """An entry came or went."""
        self._keep((bucket, within(prefix)), max(self.of_dir(bucket, prefix) + 1, now_ns), "")

    def move_below(self, bucket: str, prefix: str, now_ns: int) -> None:
        """All in a directory went."""
        base = within(prefix)
        # The floor stands for all that is forgotten here: nothing below may come back with an older version.
        self._floor = max(self._floor + 1, now_ns)
        for key in [key for key in self._entries if key[0] == bucket and key[1].startswith(base)]:
            del self._entries[key]

    def move_object(self, bucket: str, key: str, etag: str, now_ns: int) -> None:
        """It was written, and is the one with this ETag now."""
        entry = self._entries.get((bucket, key))
        self._keep((bucket, key), max(now_ns, 0 if entry is None else entry[0] + 1), etag)

    def _keep(self, key: tuple[str, str], version: int, etag: str) -> int:
        self._entries[key] = (version, etag)
        self._entries.move_to_end(key)
        if len(self._entries) > self._kept_max:
            _, (version_forgotten, _) = self._entries.popitem(last=False)
            # Directories without an entry are at the floor: none of them may go back.
            self._floor = max(self._floor, version_forgotten)
        return version


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


# -- reading ahead


class Window:
    """What to fetch for a reader that goes on where it left off. Windows double while it does, and soon several are
    under way; a single read fetches little more than it asks for."""

    def __init__(self, first_bytes: int, most_bytes: int, ahead_count: int) -> None:
        self._first_bytes = first_bytes
        self._most_bytes = most_bytes
        self._ahead_count = ahead_count
        self._window_bytes = 0
        self._reads_count = 0
        self.frontier = 0
        """Where the next fetch begins."""

    def needed(self, offset: int, end: int, size: int) -> list[tuple[int, int]]:
        """Fetches, (offset, count) each, without which a read up to ``end`` cannot be answered."""
        fetches: list[tuple[int, int]] = []
        if not self._window_bytes:
            # The first: bulk readers get what they ask for, which tells that they are such. Of a file's beginning
            # more than there is: the object may be another, larger one by now.
            count = max(end - offset, min(self._first_bytes, max(size - offset, 1)))
            self._window_bytes = min(max(count, self._first_bytes), self._most_bytes)
            fetches.append((offset, count))
            self.frontier = offset + count
        while self.frontier < min(end, size):
            fetches.append(self._next(size))
        return fetches

    def ahead(self, offset: int, size: int) -> tuple[int, int] | None:
        """One more fetch, if it is time: to be called with each read."""
        self._reads_count += 1
        # Not before windows are four times the first: until then it may be somebody who looks at a file's beginning
        # only.
        goes_on = self._reads_count > 1 and self._window_bytes >= 4 * self._first_bytes
        is_far = self.frontier - offset >= self._ahead_count * self._window_bytes
        return None if not goes_on or is_far or self.frontier >= size else self._next(size)

    def _next(self, size: int) -> tuple[int, int]:
        self._window_bytes = min(self._window_bytes * 2, self._most_bytes)
        fetch = (self.frontier, min(self._window_bytes, size - self.frontier))
        self.frontier += fetch[1]
        return fetch


# -- objects in parts

PARTS_MAX: Final = 10_000
"""S3's own limit of parts in one upload."""
PART_BYTES_MIN: Final = 5 << 20
"""S3's own limit for all parts but the last."""
PART_BYTES_MAX: Final = 1 << 30
"""Ours, as a part is held in memory: S3 takes 5 GiB."""
PARTS_OF_A_SIZE: Final = 500
"""After so many parts, the next ones are twice as large."""


def part_bytes(number: int, first_bytes: int) -> int:
    """The size of a part, numbers from 1 on. Each 500 parts it doubles, so that 10,000 of them hold over 5 TiB, S3's
    largest object, though the first ones are small."""
    doublings = min((number - 1) // PARTS_OF_A_SIZE, 32)
    return min(max(first_bytes, PART_BYTES_MIN) << doublings, PART_BYTES_MAX)


def names_of_prefixes(prefixes: Sequence[str], base: str) -> list[str]:
    """The names of directories in a listing: ``base`` is what each begins with, and ``/`` what it ends with."""
    return [prefix[len(base) : -1] for prefix in prefixes]
