"""The certificates of an instance that other hosts reach: boot has the authority, and each host gets one for its
key (K-14, K-15).

A host's key is made there and stays there. What a host asks for, and gets, goes the way of boot's tasks on it, which
Ray lets nobody else take. ``cryptography`` is imported where there is something to do: on loopback there is not.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from kernel.boot.placing import is_loopback
from sigmaos_ray import decoding
from sigmaos_ray.tls import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sigmaos_ray import config
    from sigmaos_ray.tls.authority import Authority, Issued

ON: Final = "on"
OFF: Final = "off"
_decode_fields: Final = decoding.json_decoder(dict[str, object])


def is_wanted(asked: str, host: str) -> bool:
    """Whether an instance that listens there has TLS. ``asked``: on, off, or empty for what is right there."""
    return asked == ON or (asked != OFF and not is_loopback(host))


def request_of(state_dir: str, addresses: Iterable[str]) -> bytes:
    """What this host asks boot for. ``addresses``: where others know it, besides its own. OSError, Inval."""
    from sigmaos_ray.tls import hostkey

    return hostkey.request_of(files.tls_dir(Path(state_dir)), [*addresses, *_own_addresses()])


def _own_addresses() -> Iterator[str]:
    yield socket.gethostname()
    for each in psutil.net_if_addrs().values():
        for address in each:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                yield address.address


def keep(state_dir: str, authority_pem: bytes, certificate_pem: bytes) -> None:
    """What boot gave this host. OSError."""
    from sigmaos_ray.tls import hostkey

    hostkey.keep(files.tls_dir(Path(state_dir)), authority_pem, certificate_pem)


class Certificates:
    """The authority, and what it has given to whom, by whatever boot calls them."""

    def __init__(self, state_dir: Path, limits: config.CertificateTimes) -> None:
        """Makes the authority if there is none. MissingExtra without ``cryptography``; OSError, Inval."""
        from sigmaos_ray.tls.authority import Authority

        self._authority: Authority = Authority.at(files.tls_dir(state_dir), limits)
        self._limits = limits
        self._issued: dict[str, Issued] = {}

    @property
    def authority_pem(self) -> bytes:
        """What every end checks the others' by."""
        return self._authority.certificate_pem

    def issue(self, node: str, request_pem: bytes) -> bytes:
        """A certificate for a host. Inval for what is no request."""
        self._issued[node] = issued = self._authority.host_certificate(request_pem)
        return issued.certificate

    def forget(self, nodes: Iterable[str]) -> None:
        """They are gone."""
        for node in nodes:
            self._issued.pop(node, None)

    def due(self) -> list[str]:
        """Whose is to be followed by another one."""
        return [node for node, issued in self._issued.items() if issued.is_due()]

    def add_to(self, credentials_file: Path, realm: str) -> None:
        """A client of a realm on a machine that is none of the instance's needs a certificate: its credentials file
        gets one, or another one in time. What else the file has stays. OSError, Inval."""
        from sigmaos_ray.tls.authority import is_to_be_renewed

        fields: dict[str, object] = {}
        if credentials_file.exists():
            fields = _decode_fields(credentials_file.read_bytes())
        present, is_ours = str(fields.get("certificate")), fields.get("ca") == self.authority_pem.decode()
        if is_ours and not is_to_be_renewed(present.encode(), self._limits):
            return
        pem = self._authority.client_credentials(realm)
        fields |= {"ca": pem.authority.decode(), "certificate": pem.certificate.decode(), "key": pem.key.decode()}
        files.make_private_dir(credentials_file.parent)
        files.write_whole(credentials_file, msgspec.json.format(msgspec.json.encode({"realm": realm} | fields)))
