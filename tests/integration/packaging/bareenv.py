"""A virtual environment with the wheel and what it requires, and not one package more."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROOT = Path(__file__).parents[3]
_NO_SOURCES = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")


class Distributions:
    """The source distribution and the wheel, built from a copy of the sources: a build leaves directories behind, and
    takes modules that are no more from those of an earlier one."""

    def __init__(self, directory: Path) -> None:
        sources, built = directory / "sources", directory / "dist"
        shutil.copytree(_ROOT, sources, ignore=_NO_SOURCES)
        for hidden in (".ci", ".pre-commit-config.yaml"):
            copy = shutil.copytree if (_ROOT / hidden).is_dir() else shutil.copy
            copy(_ROOT / hidden, sources / hidden)
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (self.sdist,) = built.glob("*.tar.gz")
        (self.wheel,) = built.glob("*.whl")

    def sdist_names(self) -> set[str]:
        """The files of the source distribution, without the directory that all of them are in."""
        with tarfile.open(self.sdist) as archive:
            return {name.partition("/")[2] for name in archive.getnames()}


class BareEnvironment:
    """The wheel in an environment of its own."""

    def __init__(self, directory: Path) -> None:
        venv.create(directory, symlinks=True)
        self._bin = directory / "bin"
        (self._packages,) = directory.glob("lib/python*/site-packages")

    @property
    def python(self) -> Path:
        return self._bin / "python"

    def install(self, wheel: Path, *options: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", *options]
        done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def link_requirements(self) -> None:
        """Links what the installed wheel requires, and what that requires, from the environment of these tests: the
        versions that were tried, without a network. Each file by itself, since packages share directories (google)."""
        ours = importlib.metadata.Distribution.at(next(self._packages.glob("sigmaos_ray-*.dist-info")))
        for name in _closure(ours):
            distribution = importlib.metadata.distribution(name)
            for file in distribution.files or ():
                if ".." not in file.parts:
                    link = self._packages / file
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(Path(str(distribution.locate_file(file))).resolve())

    def names(self) -> set[str]:
        """The distributions that are installed."""
        found = importlib.metadata.distributions(path=[str(self._packages)])
        return {canonicalize_name(distribution.metadata["Name"]) for distribution in found}

    def run(self, *arguments: str, state_dir: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment, ``sigmaos`` or ``python``, as a client of an instance."""
        environment = {"PATH": "/usr/bin:/bin", "SIGMAOS_STATE_DIR": str(state_dir)}
        command: Sequence[str] = [str(self._bin / arguments[0]), *arguments[1:]]
        return subprocess.run(
            command,
            env=environment,
            cwd=self._bin.parent,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _closure(distribution: importlib.metadata.Distribution) -> set[str]:
    """What it requires, directly or not. AssertionError where a range does not admit the version that is here."""
    closure: set[str] = set()
    waiting = [(distribution, frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        dependent, extras = waiting.pop()
        for requirement in _applying(dependent.requires or (), extras):
            name = canonicalize_name(requirement.name)
            wanted = frozenset(requirement.extras)
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                installed = importlib.metadata.distribution(name)
                assert installed.version in requirement.specifier, f"{requirement}: {installed.version} is here"
                closure.add(name)
                waiting.append((installed, wanted))
    return closure


def _applying(requirements: Iterable[str], extras: frozenset[str]) -> list[Requirement]:
    """Those that hold on this machine and for these extras."""
    parsed = [Requirement(requirement) for requirement in requirements]
    contexts = [{"extra": extra} for extra in ("", *extras)]
    return [
        requirement
        for requirement in parsed
        if requirement.marker is None or any(requirement.marker.evaluate(context) for context in contexts)
    ]
