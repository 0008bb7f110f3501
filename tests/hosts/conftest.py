"""Tests over several hosts, which are namespaces of this machine: they say so where it cannot have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigmaos_ray.testing import hosts

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = hosts.why_not()
    if why is not None:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason=f"several hosts cannot be had here: {why}"))
