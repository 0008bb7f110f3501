"""``doctor --network``: who of the instance on this machine listens where, and whom each lets in."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from sigmaos_ray import serr
from sigmaos_ray.config import LOOPBACK
from sigmaos_ray.instance import outside_proc_env
from sigmaos_ray.sigmaclnt import SigmaClnt
from sigmaos_ray.sigmap import NAMED, path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sigmaos_ray.instance import Instance
    from sigmaos_ray.sigmap import Endpoint

_AGENT: Final = "Ray's agent"
_RAYS: Final = {
    "gcs_server": "Ray's control store",
    "raylet": "raylet",
    "ray::DashboardAgent": _AGENT,
    "ray::RuntimeEnvAgent": "Ray's environments",
    "ray::Dashboard": "Ray's dashboard",
    "ray/dashboard": "Ray's dashboard",
    "ray::": "Ray's worker",
    "default_worker.py": "Ray's worker",
}
"""By what stands in their command lines; the first that fits counts."""
_EVERYWHERE: Final = "0.0.0.0"  # read, not bound
_PROBE_S: Final = 1.0
ANYBODY: Final = "whoever reaches it"


class ListeningAt(NamedTuple):
    """One address that somebody listens at."""

    address: str
    who: str
    pid: int
    what: str
    takes: str

    @property
    def reached_from(self) -> str:
        """Where."""
        return "this machine" if is_loopback(self.address) else "the network"

    @property
    def is_open(self) -> bool:
        """To anybody on the network."""
        return self.takes == ANYBODY and not is_loopback(self.address)


def is_loopback(address: str) -> bool:
    """Whether others than this machine cannot reach it."""
    try:
        host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return host.is_loopback


def listeners(instance: Instance) -> list[ListeningAt]:
    """Of the processes of the instance on this machine, by address. What cannot be seen of them, for want of rights,
    is left out."""
    known = _Known(instance)
    found = [listener for process in _processes(instance) for listener in _of(process, known)]
    return sorted(set(found))


class _Known:
    """What the instance says of its addresses."""

    def __init__(self, instance: Instance) -> None:
        self.services = {
            info.pid: f"{name} {node.id}" for node in instance.kernel_nodes for name, info in node.services.items()
        }
        self.children = {child.pid: child.name for child in instance.children}
        self.boot_pid = instance.boot_pid
        processes = list(_processes(instance))
        # Of a C++ program: those in Python write their titles over their environment.
        self.has_ray_token = any(_has_token(process) for process in processes)
        self.etcd_clients = {endpoint.rpartition("//")[2] for endpoint in instance.etcd_endpoints}
        self.has_trust = bool(instance.trust.key)
        self.plain: set[str] = set()
        self.grpc: set[str] = set()
        for endpoint in [instance.named, *_endpoints(instance)]:
            self.grpc.update(endpoint.addrs)
            self.plain.update(plain for _, plain in endpoint.plain)

    def of_sigmap(self) -> str:
        """Whom a server of files lets in."""
        return "credentials of a realm" if self.has_trust else ANYBODY


def _endpoints(instance: Instance) -> Iterator[Endpoint]:
    """Of the services of all realms that answer."""
    for realm in (instance.realm, *instance.realms):
        with contextlib.suppress(serr.SigmaError), SigmaClnt(outside_proc_env(realm=realm)) as sc:
            yield sc.get_named_endpoint()
            for entry in sc.get_dir(NAMED):
                if entry.is_dir:
                    yield from _of_directory(sc, path.join(NAMED, entry.name))


def _of_directory(sc: SigmaClnt, directory: str) -> Iterator[Endpoint]:
    with contextlib.suppress(serr.SigmaError):
        for entry in sc.get_dir(directory):
            with contextlib.suppress(serr.SigmaError):
                yield sc.read_endpoint(path.join(directory, entry.name))


def _processes(instance: Instance) -> Iterator[psutil.Process]:
    """Those of the instance, and of the Ray that it started."""
    roots = {instance.boot_pid, *(child.pid for child in instance.children)}
    roots |= {info.pid for node in instance.kernel_nodes for info in node.services.values()}
    if instance.ray_temp_dir:
        roots |= {process.pid for process in _with_word(instance.ray_temp_dir)}
    seen: set[int] = set()
    for pid in roots:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                if process.pid not in seen:
                    seen.add(process.pid)
                    yield process


def _with_word(word: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if any(word in argument for argument in process.info["cmdline"] or ()):
            yield process


def _of(process: psutil.Process, known: _Known) -> Iterable[ListeningAt]:
    with contextlib.suppress(psutil.Error):
        who = _who(process, known)
        for connection in process.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN:
                # As gRPC binds addresses of the old kind.
                address = f"{connection.laddr.ip.removeprefix('::ffff:')}:{connection.laddr.port}"
                yield ListeningAt(address, who, process.pid, *_what(address, process, known))


def _who(process: psutil.Process, known: _Known) -> str:
    if process.pid in known.services:
        return known.services[process.pid]
    if process.pid in known.children:
        return known.children[process.pid]
    if process.pid == known.boot_pid:
        return "boot"
    return _of_ray(process) or process.name()


def _of_ray(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    return next((who for word, who in _RAYS.items() if word in line), "")


def _what(address: str, process: psutil.Process, known: _Known) -> tuple[str, str]:
    """What is spoken there, and who may."""
    if address in known.grpc:
        return "sigmap, gRPC", known.of_sigmap()
    if address in known.plain:
        return "sigmap, plain", known.of_sigmap()
    name = known.children.get(process.pid, "")
    if name == "etcd":
        is_secured = _has_argument(process, "client-cert-auth")
        what = "etcd, clients" if address in known.etcd_clients else "etcd, members"
        return what, "certificates of the instance" if is_secured else ANYBODY
    if name:
        return name, ANYBODY
    if _of_ray(process) == _AGENT and _shows_metrics(address):
        return "Ray's metrics", "readers"
    if _of_ray(process) or process.pid in {*known.services, known.boot_pid}:
        return "Ray", "Ray's token" if known.has_ray_token else ANYBODY
    return "a program's", "what the program says"


def _has_token(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "raylet" and process.environ().get("RAY_AUTH_MODE") == "token"
    return False


def _shows_metrics(address: str) -> bool:
    """Whether it tells Ray's metrics to who shows no token."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(LOOPBACK if host == _EVERYWHERE else host, int(port), timeout=_PROBE_S)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):  # it speaks something else
        return False
    finally:
        connection.close()


def _has_argument(process: psutil.Process, name: str) -> bool:
    return any(argument.lstrip("-").startswith(name) for argument in process.cmdline())
