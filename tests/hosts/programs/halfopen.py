"""Holds connections that never come to anything. Arguments: how many of them, and where, in turns (``host:port``).
Prints ``open`` once they are, opens another one for each that the server ends, and goes on until SIGTERM."""

from __future__ import annotations

import json
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Final

BEGINNINGS: Final = (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01")


def opened(address: str, number: int) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), 20)
    if beginning := BEGINNINGS[number % len(BEGINNINGS)]:
        connection.sendall(beginning)
    connection.setblocking(False)
    return connection


def main() -> None:
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    count, *addresses = sys.argv[1:]
    selector = selectors.DefaultSelector()
    for number in range(int(count)):
        address = addresses[number % len(addresses)]
        selector.register(opened(address, number), selectors.EVENT_READ, address)
    print(json.dumps([time.time(), "open"]), flush=True)
    number = 0
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            selector.unregister(key.fileobj)
            key.fileobj.close()
            number += 1
            selector.register(opened(key.data, number), selectors.EVENT_READ, key.data)


if __name__ == "__main__":
    main()
