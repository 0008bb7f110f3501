"""Who this process is to the other ends of its connections: what it shows them, and asks of them.

Connections that are there go on as they are. New ones have what the files hold then: a certificate that was renewed is
in use from the next connection on, in every process of the host, and nobody has to be told.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sigmaos_ray import decoding, serr
from sigmaos_ray.tls import files

if TYPE_CHECKING:
    import ssl

    import grpc

HTTP2: Final = ("h2",)
"""What gRPC's servers are asked for."""


class TlsRefused(ConnectionError):
    """The two ends of a connection do not take each other. The text says why."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What of a credentials file is about TLS: PEM, all of it empty or none."""

    ca: str = ""
    certificate: str = ""
    key: str = ""


_decode_credentials: Final = decoding.json_decoder(Credentials)


class Material(NamedTuple):
    """As PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


def has_certificate(credentials_file: Path) -> bool:
    """Whether there is such a file, with what TLS needs."""
    try:
        return bool(_decode_credentials(credentials_file.read_bytes()).certificate)
    except (OSError, msgspec.DecodeError):
        return False


class TlsIdentity:
    """What the files at one place hold. Made by ``identity_at``; used from any thread. ``ssl`` is imported with the
    first connection: most procs never leave their host."""

    def __init__(self, place: str) -> None:
        """``place``: a host's directory, or a credentials file."""
        self.place = place
        self._path = Path(place)
        self._watched = [self._path / files.CERTIFICATE, self._path / files.AUTHORITY, self._path]
        self._contexts: dict[tuple[bool, tuple[str, ...]], tuple[tuple[int, ...], ssl.SSLContext]] = {}
        """By what they are for, with the stamp of the files that they are of."""

    def stamp(self) -> tuple[int, ...]:
        """Another one once the files are others."""
        stamp = []
        for file in self._watched:
            try:
                found = os.stat(file)
            except OSError:
                continue
            stamp += [found.st_mtime_ns, found.st_ino]
        return tuple(stamp)

    def material(self) -> Material:
        """What the files hold now. Perm, saying which cannot be read."""
        try:
            if self._path.is_dir():
                names = (files.AUTHORITY, files.CERTIFICATE, files.KEY)
                return Material(*((self._path / name).read_bytes() for name in names))
            found = _decode_credentials(self._path.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise serr.Perm(self.place, f"no certificate: {error}") from error
        if not (found.ca and found.certificate and found.key):
            raise serr.Perm(self.place, "no certificate: ca, certificate and key are wanted")
        return Material(found.ca.encode(), found.certificate.encode(), found.key.encode())

    def server_context(self) -> ssl.SSLContext:
        """For one connection that comes in. Perm if the files are none."""
        return self._context(is_server=True, protocols=())

    def client_context(self, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
        """For one that goes out: ask for ``files.PEER_NAME``. ``protocols``: what is to be spoken (ALPN). Perm if the
        files are none."""
        return self._context(is_server=False, protocols=protocols)

    def new_context(self, *, is_server: bool) -> ssl.SSLContext:
        """One that is nobody else's. Perm if the files are none."""
        return _context_of(self.material(), is_server)

    def _context(self, *, is_server: bool, protocols: tuple[str, ...]) -> ssl.SSLContext:
        stamp, kind = self.stamp(), (is_server, protocols)
        known = self._contexts.get(kind)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            context = self.new_context(is_server=is_server)
        except serr.Perm:
            if known is None:
                raise
            return known[1]  # the files are being replaced: what was good a moment ago still is
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self._contexts[kind] = stamp, context
        return context

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For channels of gRPC; of one that is there they stay. Perm if the files are none."""
        import grpc

        material = self.material()
        return grpc.ssl_channel_credentials(material.authority, material.key, material.certificate)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a server of gRPC: it looks at the files for each connection. Perm if they are none."""
        return _ServerFiles(self).credentials()


class _ServerFiles:
    """What gRPC asks before each handshake, in a thread of its own."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._identity = identity
        self._stamp = identity.stamp()

    def credentials(self) -> grpc.ServerCredentials:
        import grpc

        return grpc.dynamic_ssl_server_credentials(self._configuration(), self._newer, True)

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        import grpc

        material = self._identity.material()
        return grpc.ssl_server_certificate_configuration(
            [(material.key, material.certificate)], root_certificates=material.authority
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """None: as before."""
        stamp = self._identity.stamp()
        if stamp == self._stamp:
            return None
        try:
            configuration = self._configuration()
        except serr.Perm:  # gone, or being replaced: the next connection looks again
            return None
        self._stamp = stamp
        return configuration


def _context_of(material: Material, is_server: bool) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    if is_server:
        context.num_tickets = 0  # our sessions are resumed one layer above
    else:
        context.check_hostname = True
    try:
        context.load_verify_locations(cadata=material.authority.decode())
        # OpenSSL reads both from a file, and from nowhere else: from one that is on no disk.
        with open(os.memfd_create("certificate"), "wb") as both:
            both.write(material.certificate + b"\n" + material.key)
            both.flush()
            context.load_cert_chain(f"/proc/self/fd/{both.fileno()}")
    except (ssl.SSLError, ValueError) as error:
        raise serr.Perm("certificate", f"cannot be used: {error}") from error
    return context


@functools.lru_cache(maxsize=64)
def _at(place: str) -> TlsIdentity:
    return TlsIdentity(place)


def identity_at(place: str) -> TlsIdentity | None:
    """What ``ProcEnv.tls`` and ``KernelArgs.tls`` say; None for an empty place: no TLS."""
    return _at(place) if place else None
