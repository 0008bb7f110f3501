"""An instance with TLS, on one machine: what speaks to it shows a certificate, boot's own connections included."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from bootbox import Box

from sigmaos_ray.instance import credentials_file
from sigmaos_ray.tls.files import ETCD_SOCKET, PEER_NAME, tls_dir
from sigmaos_ray.tls.identity import TlsIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def secured() -> Iterator[Box]:
    with Box() as box:
        box.env["SIGMAOS_TLS"] = "on"
        box.ok("start", "--services", "named,ux,schedd")
        del box.env["SIGMAOS_TLS"]
        yield box


def elsewhere(box: Box) -> str:
    """named's address as no client of this machine would know it, so that it takes no Unix socket."""
    return box.status()["named"]["addrs"][0].replace("127.0.0.1", "localhost")  # type: ignore[no-any-return]


@contextlib.contextmanager
def variables(box: Box, **values: str) -> Iterator[None]:
    before = dict(box.env)
    box.env.update(values)
    try:
        yield
    finally:
        box.env.clear()
        box.env.update(before)


def addresses(box: Box) -> dict[str, str]:
    """Of each part, and etcd's peer port's."""
    status = box.status()
    [node] = status["kernel_nodes"]
    found = {name: f"{info['host']}:{info['port']}" for name, info in node["services"].items()}
    return found | {"etcd": status["etcd_endpoints"][0]}


def said_over_tls(host: str, port: str, context: ssl.SSLContext, name: str | None) -> bytes:
    """What a server says to a request of HTTP; nothing if it ends the connection instead."""
    try:
        with (
            socket.create_connection((host, int(port)), 10) as raw,
            context.wrap_socket(raw, server_hostname=name) as client,
        ):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(100)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_files_and_procs(secured: Box) -> None:
    secured.put("name/file", "hello\n")
    assert secured.ok("cat", "name/file") == "hello\n"
    secured.put("name/ux/~local/file", "there\n")
    assert secured.ok("cat", "name/ux/~any/file") == "there\n"
    assert "OK: Hello world" in secured.ok("spawn", "--wait", "example")


def test_who_shows_the_certificate_of_the_machine_is_let_in(secured: Box) -> None:
    for transport in ("grpc", ""):
        with variables(secured, SIGMAOS_NAMED=elsewhere(secured), SIGMAOS_TRANSPORT=transport):
            assert "schedd/" in secured.ok("ls", "name")


def test_who_shows_a_credentials_file_is_let_in_and_not_to_etcd(secured: Box) -> None:
    file = str(credentials_file(secured.state_dir, "rootrealm"))
    with variables(
        secured,
        SIGMAOS_NAMED=elsewhere(secured),
        SIGMAOS_CREDENTIALS=file,
        SIGMAOS_STATE_DIR=str(secured.root / "no-state"),
    ):
        assert "schedd/" in secured.ok("ls", "name")
    host, _, port = addresses(secured)["etcd"].rpartition(":")
    context = TlsIdentity(file).client_context()
    assert said_over_tls(host, port, context, PEER_NAME) == b""


def test_who_shows_nothing_gets_nothing(secured: Box) -> None:
    with variables(secured, SIGMAOS_NAMED=elsewhere(secured), SIGMAOS_TLS="off"):
        assert "unreachable" in secured.fails("ls", "name")
    for name, address in addresses(secured).items():
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as raw:
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                # Go's server says in plain HTTP that it speaks TLS.
                assert b"200" not in raw.recv(1 << 10), name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        assert said_over_tls(host, port, context, None) == b"", name


def test_etcd_that_was_killed_is_back(secured: Box) -> None:
    """What it left of its Unix socket is in nobody's way."""
    secured.put("name/before", "before\n")
    killed = secured.pid_of("etcd")
    os.kill(killed, signal.SIGKILL)
    secured.until(lambda: secured.pid_of("etcd") != killed)
    secured.put("name/after", "after\n")
    assert secured.ok("cat", "name/before") == "before\n"
    assert (tls_dir(secured.state_dir) / ETCD_SOCKET).is_socket()


def test_backup_and_another_start(secured: Box) -> None:
    """etcd is asked over TLS; the authority stays."""
    secured.put("name/kept", "kept\n")
    file = str(secured.root / "backup")
    assert "MB" in secured.ok("backup", file)
    assert "MB" in secured.ok("backup", file, "--etcd", addresses(secured)["etcd"])
    authority = (tls_dir(secured.state_dir) / "ca.pem").read_bytes()
    secured.ok("stop")
    secured.ok("restore", file)
    with variables(secured, SIGMAOS_TLS="on"):
        secured.ok("start", "--services", "named,ux,schedd")
    assert secured.ok("cat", "name/kept") == "kept\n"
    assert (tls_dir(secured.state_dir) / "ca.pem").read_bytes() == authority
