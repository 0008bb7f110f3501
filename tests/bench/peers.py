"""What we measure ourselves against: etcd, ZooKeeper, Redis and memcached, child processes on loopback, each with data
of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ZOOKEEPER_JAR: Final = Path("/usr/share/java/zookeeper.jar")
START_TIMEOUT_S: Final = 30.0


class PeerMissing(Exception):
    """The peer is not installed. The text says how to install it."""


@contextlib.contextmanager
def etcd_child() -> Iterator[int]:
    """An etcd with default durability; yields its client port."""
    binary = shutil.which("etcd")
    if binary is None:
        raise PeerMissing("etcd is not installed: apt-get install etcd-server")
    port, peer_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory(prefix="sigmaos-bench-etcd-") as data:
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        command = [binary, "--data-dir", data, "--log-level", "error"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"default={peer}"]
        with _child(command, port):
            _wait_until_healthy(client)
            yield port


def _wait_until_healthy(client_url: str) -> None:
    """etcd accepts connections before it answers on them."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{client_url}/health", timeout=1) as reply:
            if reply.status == 200:
                return
        time.sleep(0.05)  # a foreign process: there is nothing else to wait on
    raise TimeoutError(f"etcd at {client_url} is not healthy")


@contextlib.contextmanager
def zookeeper_child() -> Iterator[int]:
    """A stand-alone ZooKeeper with default durability; yields its client port."""
    java = shutil.which("java")
    if java is None or not ZOOKEEPER_JAR.exists():
        raise PeerMissing("ZooKeeper is not installed: apt-get install zookeeper")
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="sigmaos-bench-zookeeper-") as data:
        config = Path(data) / "zoo.cfg"
        config.write_text(
            f"dataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=2000\nadmin.enableServer=false\n"
        )
        main = "org.apache.zookeeper.server.ZooKeeperServerMain"
        with _child([java, "-Xmx512m", "-cp", str(ZOOKEEPER_JAR), main, str(config)], port):
            yield port


@contextlib.contextmanager
def redis_child() -> Iterator[int]:
    """A Redis with default durability: none but a snapshot now and then. Yields its port."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise PeerMissing("Redis is not installed: apt-get install redis-server")
    port = _free_port()
    with (
        tempfile.TemporaryDirectory(prefix="sigmaos-bench-redis-") as data,
        _child([binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", data], port),
    ):
        yield port


@contextlib.contextmanager
def memcached_child() -> Iterator[int]:
    """A memcached of 64 MiB; yields its port."""
    binary = shutil.which("memcached")
    if binary is None:
        raise PeerMissing("memcached is not installed: apt-get install memcached")
    port = _free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with _child([binary, "-l", "127.0.0.1", "-p", str(port), "-m", "64", *user], port):
        yield port


@contextlib.contextmanager
def _child(command: list[str], port: int) -> Iterator[None]:
    """Runs the command until the block ends; enters the block once the port answers."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_for_port(process, port)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # a foreign process: there is nothing else to wait on
        else:
            return
    raise TimeoutError(f"{process.args!r} does not answer at port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
