"""As the tutorial writes it."""

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> None:
    sc = SigmaClnt()
    sc.started()
    sc.clnt_exit_ok()
