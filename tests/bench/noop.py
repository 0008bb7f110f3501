"""The program that does nothing."""

from __future__ import annotations


def main(_argv: list[str]) -> None:
    return None
