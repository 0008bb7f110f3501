"""The example program's reading, from a server of files in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import SigmaClnt, loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.testing import corpus
from user.example import count_file

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sc() -> Iterator[SigmaClnt]:
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches)
    endpoint = loopthread.shared().run(server.start())
    try:
        with SigmaClnt(ProcEnv(pid="test", kernel_id="sigma-test", named=endpoint)) as sc:
            yield sc
    finally:
        loopthread.shared().run(server.stop())


def test_a_book_of_several_pieces(sc: SigmaClnt) -> None:
    (book,) = corpus.books(1, book_bytes=5 << 20)
    sc.put_file("name/a book", book.text)
    status = count_file(sc, "name/a book")
    assert status.is_ok()
    assert status.msg == f"{book.words} words, {book.the} the"
    assert isinstance(status.data, dict)
    seconds = status.data.pop("seconds")
    assert 0 < seconds < 60
    assert status.data == {
        "file": "name/a book",
        "words": book.words,
        "the": book.the,
        "bytes": len(book.text),
        "node": "sigma-test",
    }


@pytest.mark.parametrize(("data", "words", "the"), [(b"", 0, 0), (b"\xff\x00\xfe the\x80", 2, 0), (b"the" * 10, 1, 0)])
def test_what_is_no_text(sc: SigmaClnt, data: bytes, words: int, the: int) -> None:
    sc.put_file("name/f", data)
    assert count_file(sc, "name/f").msg == f"{words} words, {the} the"


def test_a_file_that_is_not_there(sc: SigmaClnt) -> None:
    with pytest.raises(serr.NotFound):
        count_file(sc, "name/absent")
