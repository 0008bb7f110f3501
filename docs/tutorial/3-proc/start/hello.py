"""A program: ``sigmaos spawn --wait hello``, in this folder."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> None:
    """Says hello, in its log."""
    sc = SigmaClnt()
    sc.started()
    print("Hello world")
    # Your code here: a status with a message; with a pathname in ``argv`` the number of its words as data.
    sc.clnt_exit(Status.ok())
