"""Throughput in the words of SigmaOS's tests (G-12)."""

from __future__ import annotations

from typing import Final

MBYTE_BYTES: Final = 1 << 20


def mbyte(size_bytes: float) -> float:
    """Bytes in megabytes of 2**20."""
    return size_bytes / MBYTE_BYTES


def tput(size_bytes: float, took_s: float) -> float:
    """Megabytes per second; 0 if no time passed."""
    return mbyte(size_bytes) / took_s if took_s > 0 else 0.0


def tput_str(size_bytes: float, took_s: float) -> str:
    """The same for people."""
    return f"{tput(size_bytes, took_s):.2f} MB/s"
