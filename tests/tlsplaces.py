"""Hosts with certificates, for tests: directories as boot lays them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray.config import CertificateTimes
from sigmaos_ray.tls import hostkey
from sigmaos_ray.tls.identity import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sigmaos_ray.tls.authority import Authority

LIMITS = CertificateTimes()
EXPIRED = msgspec.structs.replace(LIMITS, host_days=-1 / 48)
"""CertificateTimes that ended half an hour ago."""


def host_place(directory: Path, authority: Authority, addresses: Sequence[str] = ("127.0.0.1", "localhost")) -> str:
    """The directory of a host with a certificate of that authority."""
    request = hostkey.request_of(directory, addresses)
    hostkey.keep(directory, authority.certificate_pem, authority.host_certificate(request).certificate)
    return str(directory)


def client_file(file: Path, authority: Authority) -> str:
    """A credentials file of a client elsewhere."""
    pem = authority.client_credentials("a-realm")
    credentials = Credentials(ca=pem.authority.decode(), certificate=pem.certificate.decode(), key=pem.key.decode())
    file.write_bytes(msgspec.json.encode(credentials))
    return str(file)
