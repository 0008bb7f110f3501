"""Descriptors, names and whole files, blocking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmaos_ray.blocking.face import Face
from sigmaos_ray.sigmap import NO_FENCE, NO_LEASE, OEXCL, OREAD, OWRITE, Fence, Mode, Perm, Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.fslib import Change, Changed
    from sigmaos_ray.fslib.part import Data


class FilesFace(Face):
    """See ``fslib.descriptors``, ``entries``, ``files``, ``jsonfiles``."""

    def create(self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        return self.run(self._clnt.create(pn, perm, mode))

    def create_leased(self, pn: str, perm: Perm, mode: Mode, lease: object, fence: Fence = NO_FENCE) -> int:
        return self.run(self._clnt.create_leased(pn, perm, mode, lease, fence))

    def create_whole(self, pn: str, data: bytes, perm: Perm, lease_id: int = NO_LEASE, fence: Fence = NO_FENCE) -> Qid:
        return self.run(self._clnt.create_whole(pn, data, perm, lease_id, fence))

    def create_leader_file(self, pn: str, data: bytes, lease: object, fence: Fence = NO_FENCE) -> Qid:
        return self.run(self._clnt.create_leader_file(pn, data, lease, fence))

    def open(self, pn: str, mode: Mode = OREAD) -> int:
        return self.run(self._clnt.open(pn, mode))

    def close_fd(self, fd: int) -> None:
        self.run(self._clnt.close_fd(fd))

    def read(self, fd: int, count: int) -> bytes:
        return self.run(self._clnt.read(fd, count))

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        return self.run(self._clnt.pread(fd, count, offset))

    def write(self, fd: int, data: Data) -> int:
        return self.run(self._clnt.write(fd, data))

    def write_fence(self, fd: int, data: Data, fence: Fence) -> int:
        return self.run(self._clnt.write_fence(fd, data, fence))

    def write_read(self, fd: int, frames: Sequence[bytes]) -> list[bytes]:
        return self.run(self._clnt.write_read(fd, frames))

    def seek(self, fd: int, offset: int) -> None:
        self.run(self._clnt.seek(fd, offset))

    # -- whole files

    def get_file(self, pn: str) -> bytes:
        return self.run(self._clnt.get_file(pn))

    def put_file(self, pn: str, data: Data, perm: Perm = 0o777, mode: Mode = OWRITE) -> int:
        return self.run(self._clnt.put_file(pn, data, perm, mode))

    def set_file(self, pn: str, data: Data, mode: Mode = OWRITE, offset: int = 0) -> int:
        return self.run(self._clnt.set_file(pn, data, mode, offset))

    def put_leased_file(self, pn: str, data: Data, lease: object, perm: Perm = 0o777, mode: Mode = OEXCL) -> int:
        return self.run(self._clnt.put_leased_file(pn, data, lease, perm, mode))

    def put_file_atomic(self, pn: str, data: Data, perm: Perm = 0o777) -> int:
        return self.run(self._clnt.put_file_atomic(pn, data, perm))

    # -- JSON

    def get_file_json(self, pn: str) -> Any:
        return self.run(self._clnt.get_file_json(pn))

    def put_file_json(self, pn: str, value: Any, perm: Perm = 0o777) -> int:
        return self.run(self._clnt.put_file_json(pn, value, perm))

    def put_file_json_atomic(self, pn: str, value: Any, perm: Perm = 0o777) -> int:
        return self.run(self._clnt.put_file_json_atomic(pn, value, perm))

    def set_file_json(self, pn: str, value: Any) -> int:
        return self.run(self._clnt.set_file_json(pn, value))

    def append_file_json(self, pn: str, value: Any) -> int:
        return self.run(self._clnt.append_file_json(pn, value))

    # -- names

    def stat(self, pn: str) -> Stat:
        return self.run(self._clnt.stat(pn))

    def remove(self, pn: str, fence: Fence = NO_FENCE) -> None:
        self.run(self._clnt.remove(pn, fence))

    def remove_own(self, pn: str, data: bytes) -> None:
        self.run(self._clnt.remove_own(pn, data))

    def rename(self, old: str, new: str) -> None:
        self.run(self._clnt.rename(old, new))

    def transact(self, changes: Sequence[Change]) -> list[Changed]:
        return self.run(self._clnt.transact(changes))

    def symlink(self, target: str, pn: str) -> None:
        self.run(self._clnt.symlink(target, pn))

    def new_pipe(self, pn: str, perm: Perm = 0o777) -> None:
        self.run(self._clnt.new_pipe(pn, perm))
