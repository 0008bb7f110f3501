"""The authority, what it signs, and what two ends make of each other; without connections."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tlsplaces import EXPIRED, LIMITS, client_file, host_place

from sigmaos_ray import serr
from sigmaos_ray.tls import files, hostkey
from sigmaos_ray.tls.authority import Authority, certificate_request
from sigmaos_ray.tls.identity import TlsIdentity, TlsRefused, has_certificate, identity_at
from sigmaos_ray.tls.stream import StreamEnded, TlsStream

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.at(tmp_path / "boot", LIMITS)


def talk(client_place: str, server_place: str, said: bytes) -> bytes:
    """What a server reads of what a client said; raises what either end makes of the other."""
    client = TlsStream(TlsIdentity(client_place).client_context(), is_server=False)
    server = TlsStream(TlsIdentity(server_place).server_context(), is_server=True)
    client.shake_hands()
    server.feed(client.outgoing())
    server.shake_hands()
    client.feed(server.outgoing())
    assert client.shake_hands()
    finished = client.outgoing()
    server.feed(finished + client.encrypted(said))
    try:
        assert server.shake_hands()
    except TlsRefused:
        client.feed(server.outgoing())
        client.read(1)  # the client learns it with the first thing that it reads
        raise
    return server.read(1 << 10)


def test_two_hosts_of_one_authority_take_each_other(tmp_path: Path, authority: Authority) -> None:
    one, two = (host_place(tmp_path / name, authority) for name in ("one", "two"))
    assert talk(one, two, b"hello") == b"hello"


def test_a_client_of_elsewhere_may_call_and_not_serve(tmp_path: Path, authority: Authority) -> None:
    host = host_place(tmp_path / "host", authority)
    client = client_file(tmp_path / "credentials.json", authority)
    assert talk(client, host, b"hello") == b"hello"
    with pytest.raises(TlsRefused, match="a client's cannot serve"):
        talk(host, client, b"hello")


def test_another_authority_is_no_authority(tmp_path: Path, authority: Authority) -> None:
    ours = host_place(tmp_path / "ours", authority)
    theirs = host_place(tmp_path / "theirs", Authority.at(tmp_path / "other", LIMITS))
    with pytest.raises(TlsRefused, match="of another authority"):
        talk(ours, theirs, b"hello")
    mixed = tmp_path / "mixed"
    hostkey.keep(mixed, authority.certificate_pem, (tmp_path / "theirs" / files.CERTIFICATE).read_bytes())
    (mixed / files.KEY).write_bytes((tmp_path / "theirs" / files.KEY).read_bytes())
    with pytest.raises(TlsRefused, match="the other end takes no certificates of our authority"):
        talk(str(mixed), ours, b"hello")


def test_an_expired_certificate_is_told_as_such(tmp_path: Path, authority: Authority) -> None:
    good = host_place(tmp_path / "good", authority)
    expired = host_place(tmp_path / "expired", Authority.at(tmp_path / "boot", EXPIRED))
    with pytest.raises(TlsRefused, match="the other end's certificate has expired"):
        talk(good, expired, b"hello")
    with pytest.raises(TlsRefused, match="our certificate has expired"):
        talk(expired, good, b"hello")


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(64)])
def test_what_speaks_no_tls_is_told_as_such(tmp_path: Path, authority: Authority, garbage: bytes) -> None:
    identity = TlsIdentity(host_place(tmp_path / "host", authority))
    server = TlsStream(identity.server_context(), is_server=True)
    server.feed(garbage)
    with pytest.raises(TlsRefused, match="speaks no TLS"):
        server.shake_hands()
    client = TlsStream(identity.client_context(), is_server=False)
    client.shake_hands()
    client.feed(garbage)
    with pytest.raises(TlsRefused, match="speaks no TLS"):
        client.shake_hands()


def test_an_end_is_told_apart_from_a_pause(tmp_path: Path, authority: Authority) -> None:
    identity = TlsIdentity(host_place(tmp_path / "host", authority))
    client = TlsStream(identity.client_context(), is_server=False)
    server = TlsStream(identity.server_context(), is_server=True)
    while not (client.shake_hands() and server.shake_hands()):
        server.feed(client.outgoing())
        server.shake_hands()
        client.feed(server.outgoing())
    server.feed(client.outgoing())
    assert server.read(8) == b""
    client.end()
    server.feed(client.outgoing())
    with pytest.raises(StreamEnded):
        server.read(8)


def test_the_authority_stays_over_starts_and_is_nobody_elses(tmp_path: Path, authority: Authority) -> None:
    again = Authority.at(tmp_path / "boot", LIMITS)
    assert again.certificate_pem == authority.certificate_pem
    assert os.stat(tmp_path / "boot").st_mode & 0o777 == 0o700
    for name in (files.AUTHORITY, files.AUTHORITY_KEY):
        assert os.stat(tmp_path / "boot" / name).st_mode & 0o777 == 0o600


def test_an_authority_that_is_about_to_end_is_followed_by_another(tmp_path: Path) -> None:
    short = msgspec.structs.replace(LIMITS, authority_days=LIMITS.client_days - 1)
    first = Authority.at(tmp_path / "boot", LIMITS)
    (tmp_path / "boot" / files.AUTHORITY_KEY).unlink()
    made = Authority.at(tmp_path / "boot", msgspec.structs.replace(short, client_days=1.0))
    assert made.certificate_pem != first.certificate_pem
    assert Authority.at(tmp_path / "boot", LIMITS).certificate_pem != made.certificate_pem


def test_halves_of_two_authorities_are_none(tmp_path: Path, authority: Authority) -> None:
    Authority.at(tmp_path / "other", LIMITS)
    (tmp_path / "boot" / files.AUTHORITY).write_bytes((tmp_path / "other" / files.AUTHORITY).read_bytes())
    with pytest.raises(serr.Inval, match="do not belong together"):
        Authority.at(tmp_path / "boot", LIMITS)


def test_a_certificate_is_renewed_before_it_ends(authority: Authority) -> None:
    request = certificate_request(ec.generate_private_key(ec.SECP256R1()), ["10.0.0.1", "head"])
    issued = authority.host_certificate(request)
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    left = certificate.not_valid_after_utc - issued.renew_at
    assert abs(left - datetime.timedelta(days=LIMITS.host_days / 3)) < datetime.timedelta(minutes=1)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [files.PEER_NAME, "head"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]


@pytest.mark.parametrize("wrong", [b"", b"no request", b"-----BEGIN CERTIFICATE REQUEST-----\nAA\n"])
def test_what_is_no_request_gets_no_certificate(authority: Authority, wrong: bytes) -> None:
    with pytest.raises(serr.Inval):
        authority.host_certificate(wrong)


def test_a_host_keeps_its_key(tmp_path: Path) -> None:
    hostkey.request_of(tmp_path / "host", ["127.0.0.1"])
    key = (tmp_path / "host" / files.KEY).read_bytes()
    hostkey.request_of(tmp_path / "host", ["10.0.0.1"])
    assert (tmp_path / "host" / files.KEY).read_bytes() == key
    assert os.stat(tmp_path / "host" / files.KEY).st_mode & 0o777 == 0o600
    (tmp_path / "host" / files.KEY).write_bytes(b"something else")
    with pytest.raises(serr.Inval, match="no private key"):
        hostkey.request_of(tmp_path / "host", [])


def test_new_connections_have_the_renewed_certificate(tmp_path: Path, authority: Authority) -> None:
    place = host_place(tmp_path / "host", Authority.at(tmp_path / "boot", EXPIRED))
    identity, good = TlsIdentity(place), host_place(tmp_path / "good", authority)
    before = identity.client_context()
    assert identity.client_context() is before
    with pytest.raises(TlsRefused, match="expired"):
        talk(place, good, b"")
    host_place(tmp_path / "host", authority)
    assert identity.client_context() is not before
    assert talk(place, good, b"after") == b"after"


def test_files_that_are_being_replaced_keep_nobody_out(tmp_path: Path, authority: Authority) -> None:
    place = host_place(tmp_path / "host", authority)
    identity = TlsIdentity(place)
    contexts = identity.server_context(), identity.client_context()
    (tmp_path / "host" / files.CERTIFICATE).write_bytes(b"")
    assert (identity.server_context(), identity.client_context()) == contexts
    with pytest.raises(serr.Perm):
        identity.client_context(("h2",))
    host_place(tmp_path / "host", authority)
    assert identity.client_context() not in contexts
    assert talk(place, place, b"hello") == b"hello"


def test_a_place_without_a_certificate_says_so(tmp_path: Path) -> None:
    assert identity_at("") is None
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(serr.Perm, match="no certificate"):
            TlsIdentity(str(place)).client_context()
    (tmp_path / "file").write_text('{"realm": "r", "token": "t"}')
    with pytest.raises(serr.Perm, match="ca, certificate and key are wanted"):
        TlsIdentity(str(tmp_path / "file")).client_context()
    assert not has_certificate(tmp_path / "file")
    assert not has_certificate(tmp_path / "nothing")


def test_credentials_that_are_none_are_told_as_such(tmp_path: Path, authority: Authority) -> None:
    place = client_file(tmp_path / "file", authority)
    assert has_certificate(tmp_path / "file")
    (tmp_path / "file").write_text((tmp_path / "file").read_text().replace("MII", "QQQ"))
    with pytest.raises(serr.Perm, match="cannot be used"):
        TlsIdentity(place).client_context()
