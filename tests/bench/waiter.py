"""A program that starts, and waits until it is evicted."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt, Status


def main(_argv: list[str]) -> None:
    sc = SigmaClnt()
    sc.started()
    sc.wait_evict()
    sc.clnt_exit(Status.evicted())
