"""A program that crashes."""

from __future__ import annotations

import os


def main(_argv: list[str]) -> None:
    os._exit(7)
