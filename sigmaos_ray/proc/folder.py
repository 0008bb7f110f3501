"""A folder of programs, as it is at one moment: which programs it holds, and all of it in one file for workers that do
not have it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from sigmaos_ray import config, serr
from sigmaos_ray.sigmap.text import is_utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE: Final = "SIGMAOS_WORKING_DIR"
"""Names the folder that is shipped, whatever program is spawned; without it, the working directory is where it holds
the program."""
_INSTALLATION: Final = Path(__file__).resolve().parents[2]
"""Where this package was imported from: workers have the same."""
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "build", "dist"})
_LOOKS_PER_LOOK: Final = 10
"""A look at the folder counts for so many times as long as it took: it costs a burst of spawns a tenth at most."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""Of all files in a package, or it would be another one after a copy of the same files."""


class Package(NamedTuple):
    """All of a folder at one moment."""

    name: str
    """A hash of the contents."""
    data: bytes
    """A ZIP file; empty if it was asked for by its name alone."""


class ProgramFolder:
    """One folder. Its methods look at the disk, and block for that."""

    def __init__(self, path: Path, *, is_asked_for: bool = False) -> None:
        """``is_asked_for``: for every program, not only for those that it holds."""
        self.path = path
        self.is_asked_for = is_asked_for
        self._seen: tuple[tuple[str, int, int], ...] = ()
        self._package = Package("", b"")
        self._fresh_until_s = 0.0

    @classmethod
    def present(cls) -> ProgramFolder | None:
        """What ``SIGMAOS_WORKING_DIR`` names, else the working directory; None if that is gone, or the installation's.
        Inval if the variable names no directory."""
        asked_for = os.environ.get(VARIABLE, "")
        try:
            path = Path(asked_for or os.getcwd()).expanduser().resolve()
        except FileNotFoundError:
            return None
        if asked_for and not path.is_dir():
            raise serr.Inval(asked_for, f"{VARIABLE} names no directory")
        return None if path == _INSTALLATION else cls(path, is_asked_for=bool(asked_for))

    def holds(self, modules: list[str], source: str) -> bool:
        """Whether a program needs it: one of several modules, or one from a source file."""
        if self.is_asked_for:
            return True
        if source:
            return Path(source).resolve().is_relative_to(self.path)
        # Text alone, no Path: each spawn comes here.
        places = [f"{self.path}/{module.replace('.', '/')}" for module in modules]
        return any(os.path.isfile(f"{place}.py") or os.path.isfile(f"{place}/__init__.py") for place in places)

    def package(self) -> Package:
        """The folder as it is now. Inval if it is too large, or holds a name that a package cannot."""
        if time.monotonic() > self._fresh_until_s:
            began_s = time.monotonic()
            files = tuple(self._files())
            self._check_size(files)
            self._check_names(files)
            if files != self._seen or not self._package.name:
                data = self._zipped([name for name, _, _ in files])
                self._package = Package(hashlib.sha256(data).hexdigest()[:32], data)
                self._seen = files
            self._fresh_until_s = time.monotonic() + _LOOKS_PER_LOOK * (time.monotonic() - began_s)
        return self._package

    def _check_size(self, files: tuple[tuple[str, int, int], ...]) -> None:
        size, bytes_max = sum(size for _, size, _ in files), config.current().procs.package_bytes_max
        if size > bytes_max:
            largest = ", ".join(name for name, *_ in sorted(files, key=lambda file: -file[1])[:3])
            remedy = f"leave some out with .gitignore, or name a smaller folder with {VARIABLE}"
            raise serr.Inval(
                str(self.path),
                f"{size >> 20} MiB to ship to workers, over {bytes_max >> 20}: {remedy}; the largest: {largest}",
            )

    def _check_names(self, files: tuple[tuple[str, int, int], ...]) -> None:
        for name, _, _ in files:
            if not is_utf8(name):
                path = os.path.join(self.path, name)
                raise serr.Inval(
                    path, "cannot be shipped to workers: its name is no UTF-8; .gitignore can leave it out"
                )

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """Names below the folder, sizes and times of change, in order. Hidden files stay here: they are seldom code,
        and may be secrets. So does what ``.gitignore`` names, environments of Python, and what builds leave."""
        is_ignored = _ignored_by(self.path)
        directories = [""]
        while directories:
            directory = directories.pop()
            for entry in sorted(os.scandir(self.path / directory), key=lambda entry: entry.name):
                name = os.path.join(directory, entry.name)
                if entry.name.startswith(".") or entry.name in _LEFT_OUT:
                    continue
                try:
                    found = entry.stat()
                except OSError:  # gone meanwhile, or a link to nowhere
                    continue
                if stat.S_ISDIR(found.st_mode):
                    is_ours = not entry.is_symlink() and not os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
                    if is_ours and not is_ignored(f"{name}/"):
                        directories.append(name)
                elif stat.S_ISREG(found.st_mode) and not entry.name.endswith(".pyc") and not is_ignored(name):
                    yield name, found.st_size, found.st_mtime_ns

    def _zipped(self, names: list[str]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in names:
                file = self.path / name
                try:
                    data, mode = file.read_bytes(), file.stat().st_mode
                except OSError:  # gone meanwhile, or nobody's to read
                    continue
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (mode & 0xFFFF) << 16
                archive.writestr(entry, data)
        return buffer.getvalue()


def _ignored_by(folder: Path) -> Callable[[str], bool]:
    """Whether the folder's ``.gitignore`` names a file in it; a directory ends in a slash."""
    try:
        lines = (folder / ".gitignore").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return lambda _name: False
    import pathspec  # only folders with such a file need it

    return pathspec.GitIgnoreSpec.from_lines(lines).match_file
