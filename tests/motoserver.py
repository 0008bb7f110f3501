"""moto's S3 over HTTP, one request after the other: its listings fail while another thread removes keys."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment


class Emulator:
    """A running S3. Objects are in memory, and go with it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._boto = boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="t", aws_secret_access_key="t", region_name="us-east-1"
        )
        self._numbers = itertools.count(1)

    def new_bucket(self) -> str:
        """An empty one, which is the quickest to list."""
        name = f"bucket-{next(self._numbers)}"
        self._boto.create_bucket(Bucket=name)
        return name

    def close(self) -> None:
        self._boto.close()


class _QuietHandler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"  # connections that last

    def log(self, type: str, message: str, *args: object) -> None:
        """A line per request would be most of what a failed test shows."""


@contextmanager
def serve_s3() -> Iterator[Emulator]:
    """In a process of its own, which leaves this one to the server under test."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        emulator = Emulator(f"http://127.0.0.1:{int(child.stdout.readline())}")
        try:
            yield emulator
        finally:
            emulator.close()
            child.stdin.close()


def main() -> None:
    """Serves until standard input ends, as it does with whoever started this."""
    app = DomainDispatcherApplication(create_backend_app)
    turn = threading.Lock()

    def in_turn(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with turn:
            reply: Iterable[bytes] = app(environ, start_response)
            return reply

    server = make_server("127.0.0.1", 0, in_turn, threaded=True, request_handler=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="moto", daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
