"""What boot gives to whom, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from tlsplaces import EXPIRED, LIMITS

from kernel.boot import certificates
from kernel.boot.certificates import Certificates
from sigmaos_ray import serr
from sigmaos_ray.instance import credentials_file, tls_elsewhere
from sigmaos_ray.tls.files import tls_dir
from sigmaos_ray.tls.identity import TlsIdentity

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("asked", "host", "wanted"),
    [
        ("", "127.0.0.1", False),
        ("", "10.0.0.1", True),
        ("", "head", True),
        ("on", "127.0.0.1", True),
        ("off", "10.0.0.1", False),
    ],
)
def test_tls_is_on_where_others_reach_the_instance(asked: str, host: str, wanted: bool) -> None:
    assert certificates.is_wanted(asked, host) is wanted


def test_a_host_gets_one_for_its_key(tmp_path: Path) -> None:
    given = Certificates(tmp_path / "head", LIMITS)
    worker = str(tmp_path / "worker")
    certificate = given.issue("worker", certificates.request_of(worker, ["10.0.0.7"]))
    certificates.keep(worker, given.authority_pem, certificate)
    TlsIdentity(str(tls_dir(tmp_path / "worker"))).server_context()
    assert given.due() == []
    assert not (tls_dir(tmp_path / "worker") / "ca.key").exists(), "the authority stays with boot"


def test_what_is_over_soon_is_due_until_it_is_renewed_or_gone(tmp_path: Path) -> None:
    given = Certificates(tmp_path, EXPIRED)
    request = certificates.request_of(str(tmp_path), ["10.0.0.7"])
    for node in ("one", "two"):
        given.issue(node, request)
    assert given.due() == ["one", "two"]
    given.forget(["one"])
    assert given.due() == ["two"]
    given._authority._limits = LIMITS
    given.issue("two", request)
    assert given.due() == []


def test_a_credentials_file_keeps_what_else_it_has(tmp_path: Path) -> None:
    file = credentials_file(tmp_path, "tenant")
    given = Certificates(tmp_path, LIMITS)
    given.add_to(file, "tenant")
    assert json.loads(file.read_text())["realm"] == "tenant"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(json.dumps(json.loads(file.read_text()) | {"token": "t"}))
    before = file.read_text()
    given.add_to(file, "tenant")
    assert file.read_text() == before, "it is good for long"
    soon = Certificates(tmp_path, msgspec.structs.replace(LIMITS, renew_at=0.0))
    soon.add_to(file, "tenant")
    after = json.loads(file.read_text())
    assert after["token"] == "t"
    assert after["certificate"] != json.loads(before)["certificate"]
    TlsIdentity(str(file)).client_context()
    (tls_dir(tmp_path) / "ca.key").unlink()
    Certificates(tmp_path, LIMITS).add_to(file, "tenant")
    assert json.loads(file.read_text())["ca"] != after["ca"]


def test_what_a_client_elsewhere_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its credentials file, else its machine's certificate; nothing if it is told so."""
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("SIGMAOS_CREDENTIALS", raising=False)
    monkeypatch.delenv("SIGMAOS_TLS", raising=False)
    assert tls_elsewhere() == ""
    given = Certificates(tmp_path, LIMITS)
    certificates.keep(
        str(tmp_path), given.authority_pem, given.issue("", certificates.request_of(str(tmp_path), ["x"]))
    )
    assert tls_elsewhere() == str(tls_dir(tmp_path))
    file = credentials_file(tmp_path, "rootrealm")
    given.add_to(file, "rootrealm")
    monkeypatch.setenv("SIGMAOS_CREDENTIALS", str(file))
    assert tls_elsewhere() == str(file)
    monkeypatch.setenv("SIGMAOS_TLS", "off")
    assert tls_elsewhere() == ""


def test_no_other_word_for_on_and_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from kernel.boot.request import BootRequest

    monkeypatch.setenv("SIGMAOS_TLS", "yes")
    with pytest.raises(serr.Inval, match="SIGMAOS_TLS is on or off"):
        BootRequest.from_environment(str(tmp_path))
