"""The echo server of exercise 5: ``EchoSrv.Echo`` and ``EchoSrv.Add``, at ``name/example/echo-server``.

    sigmaos spawn example_echo_server
    sigmaos spawn --wait user.example_echo_server.client "Hello world"

Read ``server``, the service; then ``clnt``, its client; then ``client``, a program that uses it. ``cached``, ``stored``
and ``profiled`` are the same service with a cache, a database, and a profile. Messages are described in
``protos/user/example_echo_server/echo.proto``.
"""

from __future__ import annotations

import sys

from user.example_echo_server.server import DEFAULT_PATHNAME, EchoSrv, serve

__all__ = ["DEFAULT_PATHNAME", "EchoSrv", "main"]

USAGE = "usage: example_echo_server [PATHNAME]"


def main(argv: list[str]) -> None:
    """Serves at a pathname, the usual one by default, until it is evicted."""
    if len(argv) > 1:
        sys.exit(USAGE)
    serve(argv[0] if argv else DEFAULT_PATHNAME, EchoSrv())
