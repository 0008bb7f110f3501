"""The authority of an instance: it signs the certificates by which its parts know each other.

Keys are ECDSA's on P-256, which everybody involved takes: OpenSSL, gRPC's BoringSSL and etcd's Go. Private keys stay
where they are made; the authority's at boot's host.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from sigmaos_ray import extras, serr

extras.need("cryptography", for_="TLS between hosts")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sigmaos_ray.tls import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sigmaos_ray.config import CertificateTimes

_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_NAME_CHARS_MAX: Final = 64
"""Of a common name."""


class Pem(NamedTuple):
    """What an end of a connection has, as PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


class Issued(NamedTuple):
    """A certificate, as PEM, and when it is to be followed by another one."""

    certificate: bytes
    renew_at: datetime.datetime

    def is_due(self) -> bool:
        """Whether that is now."""
        return datetime.datetime.now(datetime.UTC) >= self.renew_at


def new_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A private key, and the same as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_request(key: ec.EllipticCurvePrivateKey, addresses: Iterable[str]) -> bytes:
    """What a host asks the authority for, as PEM: a certificate of its key and its addresses."""
    alternatives = x509.SubjectAlternativeName([x509.DNSName(files.PEER_NAME), *_alternatives(addresses)])
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(files.PEER_NAME))
    return request.add_extension(alternatives, critical=False).sign(key, hashes.SHA256()).public_bytes(_PEM)


_PEM: Final = serialization.Encoding.PEM


def _alternatives(addresses: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for address in dict.fromkeys(addresses):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address.partition("%")[0])))
        except ValueError:
            found.append(x509.DNSName(address))
    return found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_NAME_CHARS_MAX])])


class Authority:
    """Signs. Made by ``at``; the times are those of ``limits``."""

    def __init__(
        self,
        certificate: x509.Certificate,
        key: ec.EllipticCurvePrivateKey,
        limits: CertificateTimes,
        certificate_pem: bytes,
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._limits = limits
        self.certificate_pem = certificate_pem

    @classmethod
    def at(cls, directory: Path, limits: CertificateTimes) -> Authority:
        """The one of a state directory, made at the first time, and anew once it has ended. OSError; Inval for files
        that hold none."""
        files.make_private_dir(directory)
        certificate_file, key_file = directory / files.AUTHORITY, directory / files.AUTHORITY_KEY
        if not key_file.exists():
            cls._make(directory, limits)
        certificate_pem = certificate_file.read_bytes()
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except ValueError as error:
            raise serr.Inval(str(directory), f"no authority of certificates: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise serr.Inval(str(directory), f"{files.AUTHORITY} and {files.AUTHORITY_KEY} do not belong together")
        authority = cls(certificate, key, limits, certificate_pem)
        if authority._ends_soon():
            key_file.unlink()
            return cls.at(directory, limits)
        return authority

    @staticmethod
    def _make(directory: Path, limits: CertificateTimes) -> None:
        key, key_pem = new_key()
        name = _name(f"{files.PEER_NAME} {secrets.token_hex(8)}")
        builder = _begun(name, name, key.public_key(), limits, limits.authority_days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        files.write_whole(directory / files.AUTHORITY, certificate.public_bytes(_PEM))
        # Last: with it the authority is there.
        files.write_whole(directory / files.AUTHORITY_KEY, key_pem)

    def _ends_soon(self) -> bool:
        needed = datetime.timedelta(days=max(self._limits.host_days, self._limits.client_days))
        return self._certificate.not_valid_after_utc - needed < datetime.datetime.now(datetime.UTC)

    def host_certificate(self, request_pem: bytes) -> Issued:
        """For a host of the instance: it may serve and call. Inval for what is no request, or not signed by the key
        that it is about."""
        try:
            request = x509.load_pem_x509_csr(request_pem)
        except ValueError as error:
            raise serr.Inval("certificate request", str(error)) from error
        if not request.is_signature_valid:
            raise serr.Inval("certificate request", "not signed by its key")
        key = request.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise serr.Inval("certificate request", "its key is none of an elliptic curve")
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._issue(_name(files.PEER_NAME), key, [_SERVER, _CLIENT], self._limits.host_days, names)

    def client_credentials(self, name: str) -> Pem:
        """A new key and its certificate, for a client on a machine that is none of the instance's: it may call the
        instance's servers, and neither serve nor talk to etcd."""
        key, key_pem = new_key()
        issued = self._issue(_name(name), key.public_key(), [_CLIENT], self._limits.client_days, None)
        return Pem(self.certificate_pem, issued.certificate, key_pem)

    def _issue(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        uses: list[x509.ObjectIdentifier],
        days: float,
        names: x509.SubjectAlternativeName | None,
    ) -> Issued:
        builder = _begun(name, self._certificate.subject, key, self._limits, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(signer, critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(_PEM), renew_at_of(certificate, self._limits))


def is_to_be_renewed(certificate_pem: bytes, limits: CertificateTimes) -> bool:
    """Whether a certificate is to be followed by another one, or is none."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    return Issued(certificate_pem, renew_at_of(certificate, limits)).is_due()


def renew_at_of(certificate: x509.Certificate, limits: CertificateTimes) -> datetime.datetime:
    """When one is to be followed by another."""
    skew = datetime.timedelta(seconds=limits.clock_skew_s)
    begin, end = certificate.not_valid_before_utc + skew, certificate.not_valid_after_utc
    return begin + (end - begin) * limits.renew_at


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, limits: CertificateTimes, days: float
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(seconds=limits.clock_skew_s))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
