"""One instance for all tests of MapReduce, with texts in its S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mrlab import Gate, Texts, put_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

BUCKET = "mr-tests"


@pytest.fixture(scope="session")
def texts(tstate_all: Tstate) -> Iterator[Texts]:
    yield put_texts(tstate_all, BUCKET)
    tstate_all.s3.remove_bucket(BUCKET)


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> Iterator[SigmaClnt]:
    with tstate_all.new_clnt() as sc:
        yield sc


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Open at the end: nobody is left waiting."""
    directory = tmp_path / "gate"
    directory.mkdir()
    gate = Gate(directory)
    yield gate
    gate.open()
