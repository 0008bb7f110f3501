"""Tokens, and what a server makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from kernel.boot.authority import TokenAuthority
from sigmaos_ray import serr
from sigmaos_ray.auth import files, rights, tokens
from sigmaos_ray.auth.gate import gate_of
from sigmaos_ray.auth.tokens import Claims, Signer, TokenKind
from sigmaos_ray.auth.verifying import Trust, Verifier

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def authority(tmp_path: Path) -> TokenAuthority:
    made = TokenAuthority(tmp_path)
    made.admit("rootrealm")
    made.admit("t1")
    return made


@pytest.fixture
def verifier(authority: TokenAuthority) -> Verifier:
    return Verifier(authority.trust)


def refused(verifier: Verifier, token: str) -> str:
    with pytest.raises(serr.Perm) as error:
        verifier.claims(token)
    return str(error.value)


def test_a_realms_token_says_whose_it_is(authority: TokenAuthority, verifier: Verifier) -> None:
    claims = verifier.claims(authority.realm_token("t1"))
    assert (claims.kind, claims.realm) == (TokenKind.REALM, "t1")
    assert tokens.realm_of(authority.realm_token("t1")) == "t1"


@pytest.mark.parametrize("token", ["", "x", "a.b", "....", "é.é", "e30.e30", "A" * 5000, "e30=.e30="])
def test_what_is_no_token_is_refused(verifier: Verifier, token: str) -> None:
    assert refused(verifier, token)


def test_each_changed_character_is_refused(authority: TokenAuthority, verifier: Verifier) -> None:
    token = authority.realm_token("t1")
    other = {"A": "B"}
    for index in range(len(token)):
        assert refused(verifier, token[:index] + other.get(token[index], "A") + token[index + 1 :])


def test_another_authority_is_refused(verifier: Verifier, tmp_path: Path) -> None:
    stranger = TokenAuthority(f"{tmp_path}/stranger")
    stranger.admit("t1")
    assert "not of this instance" in refused(verifier, stranger.realm_token("t1"))
    assert "not of this instance" in refused(verifier, stranger.of_services("t1").token)


def test_one_that_has_ended_is_refused(authority: TokenAuthority, tmp_path: Path) -> None:
    clock = Clock()
    signing = TokenAuthority(tmp_path, clock)
    verifier = Verifier(authority.trust, clock)
    token = signing.realm_token("t1", lasts_s=10.0)
    verifier.claims(token)
    clock.now_s += 10
    assert "expired" in refused(verifier, token)


def test_a_rotated_one_is_refused_and_its_successor_is_not(authority: TokenAuthority, verifier: Verifier) -> None:
    old, other = authority.realm_token("t1"), authority.realm_token("rootrealm")
    verifier.claims(old)
    authority.rotate("t1")
    new = authority.realm_token("t1")
    # Who has not heard of it takes the new one: the authority would not have signed it else.
    verifier.claims(new)
    assert verifier.learn(authority.generations)
    assert "revoked" in refused(verifier, old)
    assert verifier.claims(new)
    assert verifier.claims(other)


def test_a_realm_of_the_same_name_has_other_credentials(authority: TokenAuthority, verifier: Verifier) -> None:
    old = authority.realm_token("t1")
    authority.dismiss("t1")
    authority.admit("t1")
    verifier.learn(authority.generations)
    assert "revoked" in refused(verifier, old)


def test_generations_are_the_authoritys_and_never_older(authority: TokenAuthority, verifier: Verifier) -> None:
    old = authority.generations
    authority.rotate("t1")
    assert verifier.learn(authority.generations)
    assert not verifier.learn(old)
    assert not verifier.learn("")
    forged = Signer(tokens.new_seed()).sign(msgspec.json.encode({"version": 99, "of_realms": {}}))
    with pytest.raises(serr.Perm):
        verifier.learn(forged)


def test_the_authority_lasts(authority: TokenAuthority, tmp_path: Path) -> None:
    again = TokenAuthority(tmp_path)
    assert again.trust == authority.trust
    assert not again.admit("t1")
    kept = files.read(files.file_of(tmp_path, "t1"))
    assert Verifier(again.trust).claims(kept.token).realm == "t1"


def test_a_damaged_authority_is_told(authority: TokenAuthority, tmp_path: Path) -> None:
    (tmp_path / "auth" / "authority.json").write_text("{")
    with pytest.raises(serr.Error, match="damaged"):
        TokenAuthority(tmp_path)


# -- those of schedds


def issued(authority: TokenAuthority, of: str, **what: object) -> str:
    services = authority.of_services(of)
    signer = Signer(tokens.decode(services.issuer_seed), services.issuer)
    defaults = {"kind": TokenKind.PROC, "realm": of, "subject": "p-1"}
    return signer.token(Claims(**{**defaults, **what}))  # type: ignore[arg-type]


def test_a_schedd_vouches_for_procs_and_workers_of_its_realm(authority: TokenAuthority, verifier: Verifier) -> None:
    assert verifier.claims(issued(authority, "t1")).subject == "p-1"
    assert verifier.claims(issued(authority, "t1", kind=TokenKind.WORKER)).kind is TokenKind.WORKER
    assert "may not vouch" in refused(verifier, issued(authority, "t1", realm="rootrealm"))
    for kind in (TokenKind.REALM, TokenKind.KERNEL, TokenKind.ISSUER):
        assert "may not vouch" in refused(verifier, issued(authority, "t1", kind=kind))


def test_nobody_else_vouches(authority: TokenAuthority, verifier: Verifier) -> None:
    seed = tokens.new_seed()
    for vouched in (authority.realm_token("t1"), authority.of_services("t1").token):
        token = Signer(seed, vouched).token(Claims(kind=TokenKind.PROC, realm="t1", subject="p-1"))
        assert "may not sign" in refused(verifier, token)
    # An issuer's own token is not somebody's.
    assert "a key's" in refused(verifier, authority.of_services("t1").issuer)


# -- rights


def test_who_may_attach_as_whom() -> None:
    tenant, root = Claims(kind=TokenKind.REALM, realm="t1"), Claims(kind=TokenKind.REALM, realm="rootrealm")
    proc = Claims(kind=TokenKind.PROC, realm="t1", subject="p-1")
    worker = Claims(kind=TokenKind.WORKER, realm="t1")
    for claims, realm, principal in (
        (tenant, "t1", "anybody"),
        (root, "t1", "anybody"),
        (root, "rootrealm", "anybody"),
        (proc, "t1", "p-1"),
        (worker, "t1", "p-2"),
    ):
        rights.check_speaks_for(claims, realm, principal)
    for claims, realm, principal in (
        (tenant, "rootrealm", "anybody"),
        (tenant, "t2", "anybody"),
        (proc, "t1", "p-2"),
        (proc, "rootrealm", "p-1"),
        (worker, "t2", "p-1"),
    ):
        with pytest.raises(serr.Perm):
            rights.check_speaks_for(claims, realm, principal)


def test_who_speaks_of_a_proc() -> None:
    rights.check_is_proc(Claims(kind=TokenKind.PROC, realm="t1", subject="p-1"), "p-1")
    rights.check_is_proc(Claims(kind=TokenKind.WORKER, realm="t1"), "p-1")
    rights.check_is_proc(None, "p-1")
    for claims in (Claims(kind=TokenKind.PROC, realm="t1", subject="p-2"), Claims(kind=TokenKind.REALM, realm="t1")):
        with pytest.raises(serr.Perm):
            rights.check_is_proc(claims, "p-1")
    rights.check_is_parent(Claims(kind=TokenKind.REALM, realm="t1"), "client-1")
    with pytest.raises(serr.Perm):
        rights.check_is_parent(Claims(kind=TokenKind.PROC, realm="t1", subject="p-2"), "p-1")
    with pytest.raises(serr.Perm):
        rights.check_is_of_instance(Claims(kind=TokenKind.PROC, realm="t1", subject="p-2"), "WorkerLeases")


# -- where a client finds its own


def test_what_the_environment_says_comes_first(
    authority: TokenAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = str(tmp_path)
    assert tokens.realm_of(files.token_for("t1", directory)) == "t1"
    assert tokens.realm_of(files.token_for("t9", directory)) == "rootrealm", "the root's speaks for all"
    assert files.token_for("t1", f"{directory}/nowhere") == ""
    monkeypatch.setenv(files.FILE_VARIABLE, str(files.file_of(directory, "rootrealm")))
    assert tokens.realm_of(files.token_for("t1", directory)) == "rootrealm"
    monkeypatch.setenv(files.TOKEN_VARIABLE, authority.realm_token("t1") + "\n")
    assert tokens.realm_of(files.token_for("rootrealm", directory)) == "t1"


def test_bad_variables_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(files.FILE_VARIABLE, f"{tmp_path}/nowhere")
    with pytest.raises(serr.Perm, match="nowhere"):
        files.configured()
    (tmp_path / "text").write_text("{}")
    monkeypatch.setenv(files.FILE_VARIABLE, f"{tmp_path}/text")
    with pytest.raises(serr.Inval, match="text"):
        files.configured()
    monkeypatch.setenv(files.TOKEN_VARIABLE, "nonsense")
    with pytest.raises(serr.Perm, match="malformed"):
        files.configured()


def test_files_are_for_their_owner_alone(authority: TokenAuthority, tmp_path: Path) -> None:
    for file in ("authority.json", "realms/t1.json"):
        assert (tmp_path / "auth" / file).stat().st_mode & 0o777 == 0o600
    for directory in ("", "realms"):
        assert (tmp_path / "auth" / directory).stat().st_mode & 0o777 == 0o700


def test_a_server_without_trust_has_no_gate() -> None:
    assert gate_of(Trust(), "") is None
