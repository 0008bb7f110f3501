"""The members of an instance's etcd as boot last knew them, in a file beside etcd's data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from kernel.boot.keptfiles import ETCD_DIR_NAME
from kernel.boot.membership import KnownMember
from sigmaos_ray import decoding

if TYPE_CHECKING:
    from pathlib import Path

_FILE_NAME: Final = "members.json"


class Record(msgspec.Struct, frozen=True):
    """The members as they were last known."""

    wanted: int = 1
    members: tuple[KnownMember, ...] = ()
    have_tls: bool = False
    """Members know each other's addresses with that, and do not learn others while they cannot speak."""

    @property
    def voters(self) -> list[KnownMember]:
        """Those without which nothing can be written, if too many of them are away."""
        return [member for member in self.members if not member.learns]


_decode: Final = decoding.json_decoder(Record)


def read_record(state_dir: Path) -> Record:
    """What the last boot of the instance knew; of one that never had several members: nobody."""
    try:
        return _decode((state_dir / ETCD_DIR_NAME / _FILE_NAME).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return Record()


def write_record(state_dir: Path, record: Record) -> None:
    """Whole, by rename."""
    file = state_dir / ETCD_DIR_NAME / _FILE_NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(file)
