"""Throughput in megabytes of 2**20 bytes per second."""

from __future__ import annotations

from sigmaos_ray.testing.tput import mbyte, tput, tput_str


def test_throughput() -> None:
    assert mbyte(3 << 20) == 3
    assert tput(3 << 20, 2) == 1.5
    assert tput(3 << 20, 0) == 0
    assert tput_str(3 << 20, 2) == "1.50 MB/s"
