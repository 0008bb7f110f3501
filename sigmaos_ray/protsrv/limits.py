"""What a request may ask for, whichever server it comes to. Each error says the limit and its value.

Checked here, before a node hears of the request: nodes may take for granted that names are well-formed, offsets fit a
file, and data fit a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.sigmap import NO_OFFSET, OACCESS_MASK, OAPPEND, OCEXEC, OEXCL, ORCLOSE, OTRUNC, ROOT_REALM, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.config import Config
    from sigmaos_ray.pb import sigmap_pb2 as pb

OFFSET_MAX: Final = (1 << 63) - 1
"""Files end here, as Unix's do."""

LEASE_MAX: Final = (1 << 63) - 1
"""etcd's leases are signed."""

_MODE_BITS: Final = OACCESS_MASK | OEXCL | OTRUNC | OCEXEC | ORCLOSE | OAPPEND


def checked_names(names: Iterable[str], config: Config) -> list[str]:
    """The components of a path as a list. Inval where they cannot be names of anything, or are too many or too long."""
    components = list(names)
    wire = config.wire
    if len(components) > wire.path_components_max:
        raise serr.Inval("path", f"over {wire.path_components_max} components")
    size_bytes = 0
    for name in components:
        if not name or "/" in name or "\0" in name:
            raise serr.Inval(name, "a component is not empty and contains neither '/' nor NUL")
        size_bytes += len(name.encode())
    if size_bytes > wire.path_bytes_max:
        raise serr.Inval("path", f"{size_bytes} bytes: a path has at most {wire.path_bytes_max}")
    return components


def check_new_name(name: str) -> None:
    """Inval for a name that no entry may be given: too long, ``.``, ``..``, or one that clients resolve (``~any``)."""
    why = path.why_bad_name(name)
    if why is None and path.is_union(name):
        why = "clients resolve this name"
    if why is not None:
        raise serr.Inval(name, why)


def check_mode(name: str, mode: int) -> None:
    """Inval for a mode with bits that mean nothing."""
    if mode & ~_MODE_BITS:
        raise serr.Inval(name, f"no such mode: {mode:#x} has other bits than {_MODE_BITS:#x}")


def check_io(name: str, offset: int, size: int, config: Config, *, may_append: bool = False) -> None:
    """Inval for data that is too large for one request, or ends where no file does. ``may_append``: ``NO_OFFSET`` is
    the end of the file."""
    if size > config.wire.io_bytes_max:
        raise serr.Inval(name, f"{size} bytes: one request has at most {config.wire.io_bytes_max}")
    if offset == NO_OFFSET and may_append:
        return
    if offset > OFFSET_MAX - size:
        raise serr.Inval(name, f"offset {offset}: a file ends at {OFFSET_MAX} at the latest")


def check_lease(name: str, lease: int) -> None:
    """NotFound for a number that no lease has, before etcd sees it."""
    if lease > LEASE_MAX:
        raise serr.NotFound(f"lease {lease}", f"for {name}: no lease has a number over {LEASE_MAX}")


def check_call(name: str, frame_count: int, config: Config) -> None:
    """Inval for a writeread of too many frames."""
    if frame_count > config.wire.call_frames_max:
        raise serr.Inval(name, f"{frame_count} frames: a call has at most {config.wire.call_frames_max}")


def check_realm(theirs: str, ours: str) -> None:
    """Perm for a client of another realm than the server's, but not for one of the root realm (N-16)."""
    if (theirs or ROOT_REALM) not in (ours, ROOT_REALM):
        raise serr.Perm(theirs, f"a client of another realm than this server's, {ours}")


def check_attach(t: pb.Tattach, config: Config, realm: str) -> None:
    """Perm for a client of another realm (``realm`` is the server's), Inval if it tells too much of itself: that is
    kept with each of its fids."""
    check_realm(t.realm, realm)
    size_bytes = sum(len(text.encode()) for text in (t.realm, t.principal, t.token))
    size_bytes += sum(secret.ByteSize() for secret in t.secrets)
    limit = config.session.attach_bytes_max
    if size_bytes > limit:
        what = "realm, principal, token and secrets"
        raise serr.Inval("attach", f"{what} of {size_bytes} bytes: they have at most {limit}")


def check_fid_count(number: int, fid_count: int, config: Config, gate: Gate | None) -> None:
    """Retry if the server's sessions have all fids together that they may have: others may give some back."""
    limit = (gate.fids_max if gate is not None else 0) or config.session.fids_max
    if fid_count >= limit:
        raise serr.Retry(f"fid {number}", f"the server has {limit} fids, its most")


def check_watch_count(name: str, watch_count: int, config: Config) -> None:
    """Inval if a session has all watches that it may have."""
    limit = config.session.watches_per_session_max
    if watch_count >= limit:
        raise serr.Inval(name, f"a session has at most {limit} watches")


def check_changes(changes: Sequence[pb.Change], config: Config) -> None:
    """Inval for a transaction of too many changes, of none, or of too much data."""
    limit = config.wire.changes_max
    if not 0 < len(changes) <= limit:
        raise serr.Inval("transaction", f"{len(changes)} changes: one has at least 1 and at most {limit}")
    check_io("transaction", 0, sum(len(change.data) for change in changes), config)
