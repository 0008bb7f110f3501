"""A proc as the tutorial writes it; with an argument it reads that file, too."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> None:
    sc = SigmaClnt()
    sc.started()
    for pathname in argv:
        assert sc.get_file(pathname)
    sc.clnt_exit_ok()
