"""A client of a namespace that is a dict: as much of SigmaClnt as the commands call."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

from sigmaos_ray import serr
from sigmaos_ray.proc import ProcInfo, Status
from sigmaos_ray.sigmap import DMDIR, Qid, Stat

if TYPE_CHECKING:
    from sigmaos_ray import Proc


class Sink(io.BytesIO):
    """A writer whose contents count once its block ended well."""

    def __init__(self, files: dict[str, bytes | None], pathname: str) -> None:
        super().__init__()
        self._files, self._pathname = files, pathname

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._files[self._pathname] = self.getvalue()


class FakeClnt:
    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {"name": None, "name/dir": None, "name/f": b"hi"}
        """Contents by pathname; None: a directory."""
        self.calls: list[tuple[object, ...]] = []
        self.read: list[tuple[str, int]] = []
        """What was opened to be read, and from where."""
        self.spawned: Proc | None = None
        self.status = Status.ok()
        self.infos: list[ProcInfo] = []
        self.reports: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def _at(self, pathname: str) -> bytes | None:
        try:
            return self.files[pathname.rstrip("/")]
        except KeyError:
            raise serr.NotFound(pathname) from None

    def stat(self, pathname: str) -> Stat:
        data = self._at(pathname)
        mode = 0o644 if data is not None else DMDIR | 0o755
        name = pathname.rstrip("/").rsplit("/", 1)[-1]
        return Stat(name=name, mode=mode, length=len(data or b""), qid=Qid.of(mode, 3, 7))

    def get_dir(self, pathname: str) -> list[Stat]:
        if self._at(pathname) is not None:
            raise serr.NotDir(pathname)
        base = pathname.rstrip("/") + "/"
        return [self.stat(name) for name in self.files if name.startswith(base) and "/" not in name[len(base) :]]

    def open_reader(self, pathname: str, offset: int = 0) -> io.BytesIO:
        data = self._at(pathname)
        if data is None:
            raise serr.IsDir(pathname)
        self.read.append((pathname, offset))
        return io.BytesIO(data[offset:])

    def create_writer(self, pathname: str, perm: int = 0o777, mode: int = 0) -> Sink:
        return Sink(self.files, pathname)

    def put_file(self, pathname: str, data: bytes, perm: int = 0o777) -> int:
        self.files[pathname] = data
        return len(data)

    def resolve_mounts(self, pathname: str) -> str:
        return pathname

    def mkdir(self, pathname: str) -> None:
        if pathname in self.files:
            raise serr.Exists(pathname)
        self.files[pathname] = None

    def makedirs(self, pathname: str) -> None:
        parts = pathname.split("/")
        for length in range(1, len(parts) + 1):
            self.files.setdefault("/".join(parts[:length]))

    def remove(self, pathname: str) -> None:
        self._at(pathname)
        del self.files[pathname]

    def rmdir(self, pathname: str) -> None:
        self.files = {name: data for name, data in self.files.items() if not f"{name}/".startswith(f"{pathname}/")}

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    # -- procs

    def spawn(self, proc: Proc) -> None:
        self.spawned = proc

    def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        self.calls.append(("wait_exit", pid, timeout_s, peek))
        return self.status

    def evict(self, pid: str, grace_s: float | None = None) -> None:
        self.calls.append(("evict", pid, grace_s))

    def procs(self) -> list[ProcInfo]:
        return self.infos

    def read_srv_stats(self, pn: str) -> dict[str, Any]:
        if pn not in self.reports:
            raise serr.NotFound(pn)
        return self.reports[pn]
