"""A database proxy in front of SQLite and of MariaDB: each test runs with both."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import mariadb_child
import pytest
import pytest_asyncio

from kernel.db.service import DbSrv
from kernel.db.store import DbStore
from sigmaos_ray import config as configuration
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.dbclnt import AsyncDbClnt
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(scope="module")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not mariadb_child.is_installed():
        pytest.skip("MariaDB: apt-get install mariadb-server")
    with mariadb_child.mariadb(tmp_path_factory.mktemp("mariadb")) as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbStore]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'test.sqlite'}"
    else:
        url = request.getfixturevalue("mariadb_url")
    store = DbStore(url, configuration.current().proxy)
    store.check()
    yield store
    store.close()


@pytest_asyncio.fixture
async def db(store: DbStore) -> AsyncIterator[AsyncDbClnt]:
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches, services=[DbSrv(store)])
    sc = AsyncFsLib(ProcEnv(pid="test", named=await server.start()))
    async with AsyncDbClnt(sc, "name/") as db:
        yield db
    await sc.close_fs()
    await server.stop()
    await close_channels()


@pytest_asyncio.fixture
async def table(db: AsyncDbClnt) -> AsyncIterator[str]:
    """A table of books."""
    name = f"books_{secrets.token_hex(4)}"
    await db.execute(f"CREATE TABLE {name} (name VARCHAR(100) PRIMARY KEY, words INTEGER NOT NULL)")
    yield name
    await db.execute(f"DROP TABLE {name}")
