"""Nodes that lack the AWS profile of boot's machine borrow its credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ProfileNotFound

from kernel.raylib import kv
from kernel.s3 import lending

if TYPE_CHECKING:
    from pathlib import Path

FILE = "[sigmaos]\naws_access_key_id = KEY\naws_secret_access_key = a-secret\nregion = eu-north-1\n"


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Ray's key-value store."""
    values: dict[str, bytes] = {}
    monkeypatch.setattr(kv, "put", values.__setitem__)
    monkeypatch.setattr(kv, "get", values.get)
    monkeypatch.setattr(kv, "delete", values.pop)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return values


def machine(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """From now on this is the machine with that credentials file."""
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))


def test_a_node_without_the_profile_borrows(
    store: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head").write_text(FILE)
    machine(monkeypatch, tmp_path / "head")
    lending.lend("sigmaos")
    machine(monkeypatch, tmp_path / "worker")
    session = lending.session_of("sigmaos")
    credentials = session.get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.secret_key, session.region_name) == ("KEY", "a-secret", "eu-north-1")
    assert "a-secret" not in repr(lending._decode(store["sigmaos-s3-lent-sigmaos"]))
    lending.end("sigmaos")
    with pytest.raises(ProfileNotFound):
        lending.session_of("sigmaos")


def test_a_node_with_the_profile_uses_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker").write_text(FILE.replace("KEY", "OWN"))
    machine(monkeypatch, tmp_path / "worker")
    credentials = lending.session_of("sigmaos").get_credentials()
    assert credentials is not None
    assert credentials.access_key == "OWN"
