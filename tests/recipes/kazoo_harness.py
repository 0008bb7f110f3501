"""What kazoo's tests are built on, without its ZooKeeper: clients of our namespace.

Import it before ``kazoo.tests``: it stands in for ``kazoo.testing``, which needs what starts a ZooKeeper.
"""

from __future__ import annotations

import secrets
import sys
import types
import unittest
from typing import TYPE_CHECKING, Any

import pytest
from kazoo.protocol.states import KazooState
from kazoo_adapter import NamespaceClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import ProcEnv


class KazooTestCase(unittest.TestCase):
    """A client with a root of its own for each test, and more of them on request."""

    client: NamespaceClient

    @pytest.fixture(autouse=True)
    def _directory(self, recipes_env: ProcEnv) -> None:
        self._env = recipes_env
        self._root = f"name/recipes-{secrets.token_hex(6)}"

    def setUp(self) -> None:
        self.client = self._get_client()
        self.client.start()
        self.client.ensure_path("/")

    def _get_client(self, **options: Any) -> NamespaceClient:
        client = NamespaceClient(self._env, self._root, **options)
        self.addCleanup(client.stop)
        return client

    def expire_session(self, event_factory: Callable[[], Any]) -> None:
        lost = event_factory()
        self.client.add_listener(lambda state: lost.set() if state == KazooState.LOST else None)
        self.client.expire()
        assert lost.is_set()


_stand_in = types.ModuleType("kazoo.testing")
_stand_in.KazooTestCase = KazooTestCase  # type: ignore[attr-defined]
sys.modules["kazoo.testing"] = _stand_in
