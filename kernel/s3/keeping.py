"""What outlives an s3 server on its node: the newest fences, and uploads that are not finished.

A server that starts again refuses who was deposed, and drops what the last one left half sent. Two small files in the
service's own directory; without a directory both are kept in memory only.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.sigmap import Fence

FENCES_FILE: Final = "fences"
UPLOADS_FILE: Final = "uploads"

T = TypeVar("T")


class UnfinishedUpload(msgspec.Struct, frozen=True):
    """An upload that S3 knows of."""

    bucket: str
    key: str
    upload: str


class FenceFile:
    """The fences of one server, replaced as a whole and synced: the change that one came with may be the last before
    everything stops. Calls block until the disk has it."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / FENCES_FILE
        self.is_behind = False
        """True if the last write failed: what is newest is not on the disk."""

    def load(self) -> list[Fence]:
        """Error if the file is damaged: forgetting fences is not for the server to decide."""
        return [] if self._file is None else _load(self._file, list[Fence]) or []

    def save(self, newest: list[Fence]) -> None:
        """IOErr if the disk does not take it."""
        if self._file is not None:
            self.is_behind = True
            _replace(self._file, msgspec.json.encode(newest), syncs=True)
        self.is_behind = False


class UploadsFile:
    """Uploads under way. What is there when a server starts was left by the one before it."""

    def __init__(self, directory: Path | None) -> None:
        self._file = None if directory is None else directory / UPLOADS_FILE
        left = None if self._file is None else _load(self._file, list[UnfinishedUpload])
        self._open: dict[UnfinishedUpload, None] = dict.fromkeys(left or [])
        self.left = list(self._open)
        """To be aborted."""

    def __len__(self) -> int:
        return len(self._open)

    def began(self, bucket: str, key: str, upload: str) -> None:
        """IOErr if the disk does not take it."""
        self._open[UnfinishedUpload(bucket, key, upload)] = None
        self._write()

    def ended(self, bucket: str, key: str, upload: str) -> None:
        """Never raises: one that stays noted is aborted once more, which does no harm."""
        self._open.pop(UnfinishedUpload(bucket, key, upload), None)
        with contextlib.suppress(serr.IOErr):
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            _replace(self._file, msgspec.json.encode(list(self._open)), syncs=False)


def make_directory(path: str) -> Path | None:
    """The service's directory, for its own user only; None for ``""``. IOErr if it cannot be made."""
    if not path:
        return None
    directory = Path(path)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise serr.IOErr(path, str(error)) from error
    return directory


def _load(file: Path, kind: type[T]) -> T | None:
    try:
        return decoding.json_decoder(kind)(file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise serr.IOErr(file.name, str(error)) from error
    except msgspec.MsgspecError as error:
        raise serr.Error(file.name, f"s3's file {file} is damaged: {error}") from error


def _replace(file: Path, data: bytes, *, syncs: bool) -> None:
    new = file.with_name(f"{file.name}-new")
    try:
        with new.open("wb") as opened:
            opened.write(data)
            opened.flush()
            if syncs:
                os.fsync(opened.fileno())
        new.replace(file)
        if syncs:
            _sync_directory(file.parent)
    except OSError as error:
        raise serr.IOErr(file.name, str(error)) from error


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
