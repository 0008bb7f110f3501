"""Sleeps for so many seconds, and tells when it ended."""

import time


def main(argv: list[str]) -> float:
    time.sleep(float(argv[0]))
    return time.time()
