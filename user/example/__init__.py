"""The example program. Without arguments it says hello; with a pathname it counts the words of that file.

sigmaos spawn --wait example
sigmaos spawn --wait example name/s3/~any/books/gutenberg/moby.txt
"""

from __future__ import annotations

import time

from sigmaos_ray import SigmaClnt, Status, debug, serr
from user.example.count import Counter

_log = debug.selector("EXAMPLE")
_CHUNK_BYTES = 1 << 20


def main(argv: list[str]) -> None:
    sc = SigmaClnt()
    sc.started()
    if not argv:
        print("Hello world")
        sc.clnt_exit(Status.info("Hello world"))
        return
    try:
        status = count_file(sc, argv[0])
    except serr.SigmaError as error:
        status = Status.err(f"{argv[0]}: {error}")
    sc.clnt_exit(status)


def count_file(sc: SigmaClnt, pathname: str) -> Status:
    """Reads the file piece by piece, so that it may be larger than memory. Raises what opening and reading raise."""
    began = time.monotonic()
    counter = Counter()
    with sc.open_reader(pathname) as reader:
        while chunk := reader.read(_CHUNK_BYTES):
            counter.add(chunk)
    words, the = counter.done()
    if _log.on:
        _log(f"{pathname}: {words} words, {the} the")
    data = {
        "file": pathname,
        "words": words,
        "the": the,
        "bytes": counter.bytes,
        "node": sc.kernel_id,
        "seconds": round(time.monotonic() - began, 6),
    }
    return Status.info(f"{words} words, {the} the", data)
