"""Tests over several hosts, which are namespaces of this machine: they say so where it cannot have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster import Cluster, give_environment, shared_folders

from sigmaos_ray.testing import hosts
from sigmaos_ray.testing.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = hosts.why_not()
    if why is not None:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason=f"several hosts cannot be had here: {why}"))


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts that serve, a spare one, and a desk, which have the environment only. Started once for all tests."""
    names, directory = ["head", "worker-1", "worker-2", "spare", "desk"], tmp_path_factory.mktemp("hosts")
    with Hosts(names, directory=directory, network="10.78.4", shared=shared_folders()) as made:
        for host in made:
            give_environment(host, with_project=True)
        cluster = Cluster(made)
        cluster.start_by_hand()
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Iterator[Cluster]:
    """The session's, with all its hosts; what a test does to them is undone."""
    yield shared_cluster
    shared_cluster.mend()
