"""Tries each port of an instance as somebody without its certificates. Arguments: ``name=host:port``, of each.
Prints a line for each try that brought anything but an alert, an end, or silence; last how many tries there were."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from sigmaos_ray.config import CertificateTimes
from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello
from sigmaos_ray.sessp.plain import message
from sigmaos_ray.tls import files, hostkey
from sigmaos_ray.tls.authority import Authority
from sigmaos_ray.tls.identity import TlsIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S: Final = 3.0
HTTP: Final = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO: Final = message(Frames(hello=Hello(session_id=7, key=b"k")).SerializeToString())
TLS_ALERT: Final = 0x15
ANSWERS_OF_GO: Final = b"HTTP/1.0 400"
"""Go's server says in plain HTTP that it wants TLS."""


def strangers_identity(directory: Path) -> TlsIdentity:
    """A host's certificate, of an authority of our own."""
    limits = CertificateTimes()
    authority = Authority.at(directory / "ca", limits)
    request = hostkey.request_of(directory / "host", [socket.gethostname()])
    hostkey.keep(directory / "host", authority.certificate_pem, authority.host_certificate(request).certificate)
    return TlsIdentity(str(directory / "host"))


def believing(context: ssl.SSLContext, *protocols: str) -> ssl.SSLContext:
    """One that takes any server."""
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def said(connection: socket.socket, words: bytes) -> bytes:
    """What the other end says to that until it is silent, or ends the connection."""
    connection.settimeout(WAIT_S)
    connection.sendall(words)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while data := connection.recv(1 << 16):
            answer += data
    return answer


def plainly(words: bytes) -> Callable[[str, int], bytes]:
    def attempt(host: str, port: int) -> bytes:
        with socket.create_connection((host, port), WAIT_S) as connection:
            answer = said(connection, words)
        return b"" if answer[:1] == bytes([TLS_ALERT]) or answer.startswith(ANSWERS_OF_GO) else answer

    return attempt


def over_tls(context: ssl.SSLContext, words: bytes) -> Callable[[str, int], bytes]:
    def attempt(host: str, port: int) -> bytes:
        try:
            with (
                socket.create_connection((host, port), WAIT_S) as raw,
                context.wrap_socket(raw, server_hostname=files.PEER_NAME) as connection,
            ):
                return said(connection, words)
        except ssl.SSLError:
            return b""

    return attempt


def over_grpc(credentials: grpc.ChannelCredentials | None, method: str) -> Callable[[str, int], bytes]:
    def attempt(host: str, port: int) -> bytes:
        address = f"{host}:{port}"
        options = [("grpc.ssl_target_name_override", files.PEER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            channel = grpc.insecure_channel(address, options)
        else:
            channel = grpc.secure_channel(address, credentials, options)
        hello = Frames(hello=Hello(session_id=7, key=b"k")).SerializeToString()
        with channel:
            try:
                for answer in channel.stream_stream(method)(iter([hello]), timeout=WAIT_S):
                    return bytes(answer) or b"an empty message"
            except grpc.RpcError as error:
                # What a server of gRPC says itself, it says to whom it has let in.
                codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                return b"" if error.code() in codes else str(error.code()).encode()
        return b"an end in good order"

    return attempt


def attempts(stranger: TlsIdentity) -> Iterator[tuple[str, Callable[[str, int], bytes]]]:
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    material = stranger.material()
    theirs = grpc.ssl_channel_credentials(material.authority, material.key, material.certificate)
    session = f"/{sessp_pb2.DESCRIPTOR.services_by_name['Sigma'].full_name}/Session"
    yield "http", plainly(HTTP)
    yield "hello", plainly(HELLO)
    yield "garbage", plainly(os.urandom(1 << 16))
    yield "half a handshake", plainly(b"\x16\x03\x01\x02\x00\x01")
    for name, context in (("nobody", nobody), ("stranger", stranger.new_context(is_server=False))):
        yield f"hello of a {name}", over_tls(believing(context), HELLO)
        yield f"http of a {name}", over_tls(believing(context), HTTP)
    for name, credentials in (("nobody", None), ("stranger", theirs)):
        for method in (session, "/etcdserverpb.KV/Range", "/grpc.health.v1.Health/Watch"):
            yield f"{method} of a {name}", over_grpc(credentials, method)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        tries = list(attempts(strangers_identity(Path(directory))))
    count = 0
    for name, _, address in (each.partition("=") for each in sys.argv[1:]):
        host, _, port = address.rpartition(":")
        for what, attempt in tries:
            count += 1
            if got := attempt(host, int(port)):
                print(f"{name} at {address} gave {got[:80]!r} to {what}", flush=True)
    print(f"{count} tries", flush=True)


if __name__ == "__main__":
    main()
