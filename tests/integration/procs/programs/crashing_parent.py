"""Spawns a program and crashes, without waiting for it."""

from __future__ import annotations

import os

from sigmaos_ray import Proc, SigmaClnt


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        child = Proc(argv[0], argv[2:], pid=argv[1])
        sc.spawn(child)
        sc.wait_start(child.pid)
        os._exit(9)
