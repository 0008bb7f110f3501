"""Runs until it is evicted."""

from sigmaos_ray import SigmaClnt, Status


def main(argv: list[str]) -> None:
    sc = SigmaClnt()
    sc.started()
    sc.wait_evict()
    sc.clnt_exit(Status.evicted())
