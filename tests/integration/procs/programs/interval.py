"""Reports when it ran: [from, to] in seconds of the monotonic clock."""

import time


def main(argv: list[str]) -> list[float]:
    begin_s = time.monotonic()
    time.sleep(float(argv[0]))
    return [begin_s, time.monotonic()]
