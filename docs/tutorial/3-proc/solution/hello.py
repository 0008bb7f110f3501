"""A program: ``sigmaos spawn --wait hello``, in this folder."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> None:
    """Says hello, in its log and in its status; counts the words of a file."""
    sc = SigmaClnt()
    sc.started()
    print("Hello world")
    words = len(sc.get_file(argv[0]).split()) if argv else None
    sc.clnt_exit(Status.info("Hello world", words))
