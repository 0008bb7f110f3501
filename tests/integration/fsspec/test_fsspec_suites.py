"""fsspec's own suites, over every file server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fsspec.tests import abstract

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.fsspec import SigmaFileSystem


class Fixtures(abstract.AbstractFixtures):
    """What the suites ask of a file system's author."""

    @pytest.fixture
    def fs(self, session_fs: SigmaFileSystem) -> SigmaFileSystem:
        return session_fs

    @pytest.fixture
    def fs_path(self, place: str) -> str:
        return place

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        """On S3 too: an empty directory keeps a hidden marker."""
        return True


class OnNamed(Fixtures):
    @pytest.fixture
    def server(self) -> str:
        return "named"


class OnUx(Fixtures):
    @pytest.fixture
    def server(self) -> str:
        return "ux"


class OnS3(Fixtures):
    @pytest.fixture
    def server(self) -> str:
        return "s3"


class TestCopyOnNamed(abstract.AbstractCopyTests, OnNamed): ...


class TestGetOnNamed(abstract.AbstractGetTests, OnNamed): ...


class TestPutOnNamed(abstract.AbstractPutTests, OnNamed): ...


class TestOpenOnNamed(abstract.AbstractOpenTests, OnNamed): ...


class TestPipeOnNamed(abstract.AbstractPipeTests, OnNamed): ...


class TestCopyOnUx(abstract.AbstractCopyTests, OnUx): ...


class TestGetOnUx(abstract.AbstractGetTests, OnUx): ...


class TestPutOnUx(abstract.AbstractPutTests, OnUx): ...


class TestOpenOnUx(abstract.AbstractOpenTests, OnUx): ...


class TestPipeOnUx(abstract.AbstractPipeTests, OnUx): ...


class TestCopyOnS3(abstract.AbstractCopyTests, OnS3): ...


class TestGetOnS3(abstract.AbstractGetTests, OnS3): ...


class TestPutOnS3(abstract.AbstractPutTests, OnS3): ...


class TestOpenOnS3(abstract.AbstractOpenTests, OnS3): ...


class TestPipeOnS3(abstract.AbstractPipeTests, OnS3): ...
