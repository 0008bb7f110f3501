"""A program that calls the echo server.

sigmaos spawn --wait user.example_echo_server.client "Hello world" [PATHNAME]
"""

from __future__ import annotations

import sys

from sigmaos_ray import SigmaClnt, Status, serr
from user.example_echo_server.clnt import EchoClnt
from user.example_echo_server.server import DEFAULT_PATHNAME

USAGE = "usage: user.example_echo_server.client TEXT [PATHNAME]"


def main(argv: list[str]) -> Status:
    """What ``main`` returns is the proc's status: here the text that came back, or the error."""
    if not 1 <= len(argv) <= 2:
        sys.exit(USAGE)
    text, pn = argv[0], argv[1] if len(argv) > 1 else DEFAULT_PATHNAME
    # In this order they are opened, and closed the other way round: the client of the service needs the one of the
    # realm.
    with SigmaClnt() as sc, EchoClnt(sc, pn) as clnt:
        sc.started()
        try:
            return Status.info(clnt.echo(text))
        except serr.SigmaError as error:
            return Status.err(f"{pn}: {error}")
