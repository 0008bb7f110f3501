"""A host's part: the key that is made there and stays there, and the certificate that comes for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import extras, serr

extras.need("cryptography", for_="TLS between hosts")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sigmaos_ray.tls import files
from sigmaos_ray.tls.authority import certificate_request, new_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def request_of(directory: Path, addresses: Iterable[str]) -> bytes:
    """What this host asks the authority for; its key is made at the first time. OSError; Inval for a file that holds
    no key."""
    files.make_private_dir(directory)
    file = directory / files.KEY
    if not file.exists():
        files.write_first(file, new_key()[1])
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except ValueError as error:
        raise serr.Inval(str(file), f"no private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise serr.Inval(str(file), "no private key of an elliptic curve")
    return certificate_request(key, addresses)


def keep(directory: Path, authority_pem: bytes, certificate_pem: bytes) -> None:
    """From now on this host shows that certificate, which belongs to its key. OSError."""
    files.make_private_dir(directory)
    for name, pem in ((files.AUTHORITY, authority_pem), (files.CERTIFICATE, certificate_pem)):
        file = directory / name
        if not file.exists() or file.read_bytes() != pem:
            files.write_whole(file, pem)
