"""What the exercises share: a bucket with a few books in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from library import Library

from sigmaos_ray.testing import corpus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

BUCKET = "sigmaos-exercises"


@pytest.fixture(scope="session")
def library(tstate_all: Tstate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    directory = tmp_path_factory.mktemp("books")
    books = corpus.write_corpus(directory, count=4, book_bytes=100_000)
    tstate_all.s3.make_bucket(BUCKET)
    tstate_all.s3.upload_dir(directory, BUCKET, "gutenberg")
    yield Library(f"name/s3/~any/{BUCKET}/gutenberg", books)
    tstate_all.s3.remove_bucket(BUCKET)
