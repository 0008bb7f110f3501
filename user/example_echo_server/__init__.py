"""The echo server of exercise 5: ``EchoSrv.Echo`` and ``EchoSrv.Add``, at ``name/example/echo-server``.

sigmaos spawn example_echo_server
sigmaos spawn --wait user.example_echo_server.client "Hello world"
"""

from __future__ import annotations

import sys

from user.example_echo_server.server import DEFAULT_PATHNAME, EchoSrv, serve

__all__ = ["DEFAULT_PATHNAME", "EchoSrv", "main"]

USAGE = "usage: example_echo_server [PATHNAME]"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(USAGE)
    serve(argv[0] if argv else DEFAULT_PATHNAME, EchoSrv())
