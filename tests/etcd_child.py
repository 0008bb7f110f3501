"""A real etcd as a child process, for tests: can be killed and started again on the same data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Self

from kernel.boot.etcd import EmbeddedEtcd
from sigmaos_ray import config


class EtcdChild:
    """An etcd of its own, on loopback, with data in a temporary directory."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="sigmaos-test-etcd-")
        root = Path(self._directory.name)
        self._etcd = EmbeddedEtcd("127.0.0.1", root, root, config.LOCAL)

    @property
    def endpoint(self) -> str:
        return self._etcd.endpoint

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._etcd.child.end(10)
        self._directory.cleanup()

    def start(self) -> None:
        """Starts it, also again after ``kill``; blocks until it answers."""
        self._etcd.start()
        self._etcd.wait()

    def kill(self) -> None:
        """kill -9."""
        self._etcd.child.process.kill()
        self._etcd.child.process.wait()
