"""What the daemon is asked for, and what it answers while it starts. Plain data, as JSON."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from kernel.boot import certificates
from kernel.service import service_names
from sigmaos_ray import config, crash, decoding, perf, serr
from sigmaos_ray.config import ETCD_PORT
from sigmaos_ray.instance import TLS_VARIABLE
from sigmaos_ray.sigmap import ROOT_REALM

_PORT_MAX: Final = 65535


class BootRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``sigmaos start`` asks for."""

    state_dir: str
    services: tuple[str, ...] = msgspec.field(default_factory=service_names)
    clean: bool = False
    """Forget what etcd and ux kept."""
    num_cpus: int | None = None
    named_count: int = 1
    """Nameds of the realm: one leads, the others stand by."""
    named_port: int | None = None
    """Of each host's first named of the root realm; 0: any. None: ``config.NAMED_PORT`` but on loopback, any there."""
    own_ray: bool = False
    """Start a Ray even if one runs."""
    dashboard: bool = False
    realm: str = ROOT_REALM
    host: str = ""
    """The address to bind and to publish; empty: boot chooses (``placing.host_for``)."""
    tls: str = ""
    """Whether connections over TCP are TLS: on, off, or empty for on where others than this machine can make some."""
    config: str = "local"
    """The preset of tunables for every part and proc."""
    etcd: tuple[str, ...] = ()
    """Endpoints of an etcd that runs already; none: an embedded one."""
    etcd_members: int | None = None
    """Hosts with a member of the embedded one, an odd number; None: as many as it had, which is 1 at first."""
    etcd_port: int = ETCD_PORT
    """Of its members, if they are to be several."""
    s3_endpoint: str | None = None
    debug: str = ""
    perf: str = ""
    """SIGMAPERF of the kernel parts."""
    fail: str = ""
    """SIGMAFAIL of the kernel parts."""

    @classmethod
    def from_environment(cls, state_dir: str, **wanted: object) -> BootRequest:
        """The request that the ``SIGMAOS_*`` variables describe, with ``wanted`` on top of it. Inval for a SIGMAFAIL,
        a SIGMAPERF, a SIGMAOS_CONFIG or a port that is none, and for members of etcd that cannot be."""
        environment = {
            "etcd": tuple(filter(None, os.environ.get("SIGMAOS_ETCD", "").split(","))),
            "s3_endpoint": os.environ.get("SIGMAOS_S3_ENDPOINT") or None,
            "config": config.current_name(),
            "host": os.environ.get("SIGMAOS_HOST", ""),
            "tls": _tls_from(TLS_VARIABLE),
            "etcd_members": _members_from("SIGMAOS_ETCD_MEMBERS"),
            "etcd_port": _port_from("SIGMAOS_ETCD_PORT"),
            "named_port": _port_from("SIGMAOS_NAMED_PORT"),
            "own_ray": os.environ.get("SIGMAOS_OWN_RAY", "") == "1",
            "dashboard": os.environ.get("SIGMAOS_DASHBOARD", "") == "1",
            "debug": os.environ.get("SIGMADEBUG", ""),
            "perf": os.environ.get("SIGMAPERF", ""),
            "fail": os.environ.get("SIGMAFAIL", ""),
        }
        asked = environment | {name: value for name, value in wanted.items() if value is not None}
        chosen = {name: value for name, value in asked.items() if value is not None}
        request = cls(state_dir=state_dir, **chosen)  # type: ignore[arg-type]
        _check_members(request)
        crash.parse(request.fail)
        perf.parse(request.perf)
        return request


def _port_from(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    if text and not (text.isdecimal() and int(text) <= _PORT_MAX):
        raise serr.Inval(text, f"{variable}: a port is a number up to {_PORT_MAX}; 0 is any that is free")
    return int(text) if text else None


def _tls_from(variable: str) -> str:
    text = os.environ.get(variable, "")
    if text not in ("", certificates.ON, certificates.OFF):
        raise serr.Inval(text, f"{variable} is {certificates.ON} or {certificates.OFF}")
    return text


def _members_from(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise serr.Inval(text, f"{variable}: a number of hosts")
    return int(text) if text else None


def _check_members(request: BootRequest) -> None:
    count = request.etcd_members
    if count is None:
        return
    if count % 2 == 0:
        raise serr.Inval(str(count), "members of etcd are 1, 3, 5 or 7: one more of an even number bears no more loss")
    if count > 1 and request.etcd:
        raise serr.Inval("SIGMAOS_ETCD", "names an etcd of your own: its members are yours to add")


class Report(msgspec.Struct, frozen=True):
    """One line from the daemon: what it started, that all is ready, or why it failed."""

    line: str = ""
    ready: bool = False
    failed: str = ""


decode_report: Final = decoding.json_decoder(Report)
