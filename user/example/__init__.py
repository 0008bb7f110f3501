"""The example program: a program is a module with ``main(argv)``. Copy this one to begin your own.

Without arguments it says hello; with a pathname it counts the words of that file:

    sigmaos spawn --wait example
    sigmaos spawn --wait example name/s3/~any/books/gutenberg/moby.txt

From Python, ``sc.spawn(Proc("example", [pathname]))``, and ``sc.wait_exit(proc.pid)`` returns the status.
"""

from __future__ import annotations

import time

from sigmaos_ray import SigmaClnt, Status, debug, serr
from user.example.count import Counter

# Output for those who ask for it: ``SIGMADEBUG=EXAMPLE sigmaos start``. ``descriptor.py`` declares the name.
_log = debug.selector("EXAMPLE")
_CHUNK_BYTES = 1 << 20


def main(argv: list[str]) -> None:
    """A proc from its start to its status. ``argv`` are the arguments alone, without the program's name."""
    # The client finds its instance by the environment that the proc was started with.
    sc = SigmaClnt()
    # Whoever waits with ``wait_start`` goes on now: say so once your program is of use to others.
    sc.started()
    if not argv:
        print("Hello world")  # into the proc's log: ``sigmaos logs example``
        sc.clnt_exit(Status.info("Hello world"))
        return
    try:
        status = count_file(sc, argv[0])
    except serr.SigmaError as error:
        # What the parent may want to know is a status. Any other exception would be one as well, by its last line.
        status = Status.err(f"{argv[0]}: {error}")
    # The last call of a client: it reports the status, ends the client's leases and closes its sessions.
    sc.clnt_exit(status)


def count_file(sc: SigmaClnt, pathname: str) -> Status:
    """Counts the words of a file of any size, and how many of them are ``the``. OK, with the numbers as data; raises
    what opening and reading raise."""
    began_s = time.monotonic()
    counter = Counter()
    # Piece by piece: the file may be larger than memory. The next pieces are on their way while this one is counted.
    with sc.open_reader(pathname) as reader:
        while chunk := reader.read(_CHUNK_BYTES):
            counter.add(chunk)
    words, the = counter.done()
    if _log.on:  # so that the text is not even made while nobody asks for it
        _log(f"{pathname}: {words} words, {the} the")
    data = {
        "file": pathname,
        "words": words,
        "the": the,
        "bytes": counter.bytes,
        "node": sc.kernel_id,
        "seconds": round(time.monotonic() - began_s, 6),
    }
    # A message for people, and data for programs: whatever JSON can hold.
    return Status.info(f"{words} words, {the} the", data)
