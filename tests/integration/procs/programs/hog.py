"""Takes the memory that it is told, in MiB, and keeps it."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> None:
    with SigmaClnt() as sc:
        sc.started()
        held = [bytearray(b"x" * (64 << 20)) for _ in range(int(argv[0]) // 64)]
        sc.wait_evict()
        assert held
