"""Exercise 3: a proc, and its status. Run it in this folder: the program is found there."""

from __future__ import annotations

from sigmaos_ray import Proc, SigmaClnt
from sigmaos_ray.testing import Tstate


def run(sc: SigmaClnt, *argv: str) -> object:
    proc = Proc("hello", list(argv))
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid)
    assert status.is_ok(), status
    assert status.msg == "Hello world"
    return status.data


def test_hello(tstate_all: Tstate) -> None:
    run(tstate_all.sc)


def test_words(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    sc.put_file("name/tutorial-words", b"four words and no more")
    try:
        assert run(sc, "name/tutorial-words") == 5
    finally:
        sc.remove("name/tutorial-words")
