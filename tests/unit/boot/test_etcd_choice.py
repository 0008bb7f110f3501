"""Which etcd an instance starts, and what is said of data that it cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.boot import etcd

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DOWNGRADE = (
    '{"level":"fatal","caller":"membership/cluster.go:795","msg":"invalid downgrade; server version is lower than '
    'determined cluster version","current-server-version":"3.4.23","determined-cluster-version":"3.5","stacktrace":"x"}'
)
IN_USE = '{"level":"fatal","msg":"discovery failed","error":"listen tcp 127.0.0.1:1: bind: address already in use"}'


def _program(folder: Path, version: str | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as a real etcd, of that version; None: as one that does not run here."""
    folder.mkdir()
    file = folder / "etcd"
    file.write_bytes(b"\x7fELF")
    file.chmod(0o755)
    versions = {file: version}
    before = etcd.version_of
    monkeypatch.setattr(etcd, "version_of", lambda binary: versions.get(binary) or before(binary))
    return file


def test_the_newest_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _program(tmp_path / "a", "3.4.23", monkeypatch)
    new = _program(tmp_path / "b", "3.10.1", monkeypatch)
    monkeypatch.setenv("PATH", f"{old.parent}:{new.parent}")
    assert etcd.find_binary() == (new, False)


def test_scripts_and_what_does_not_run_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script" / "etcd"
    script.parent.mkdir()
    script.write_text("#!/usr/bin/env python3\nprint('etcd Version: 9.9.9')\n")
    script.chmod(0o755)
    broken = _program(tmp_path / "broken", None, monkeypatch)
    good = _program(tmp_path / "good", "3.4.23", monkeypatch)
    monkeypatch.setenv("PATH", f"{script.parent}:{broken.parent}:{good.parent}")
    assert etcd.find_binary() == (good, False)


def test_data_of_a_newer_one_are_said_with_the_remedy(tmp_path: Path) -> None:
    sentence = etcd.explain(DOWNGRADE, tmp_path, "that etcd is 3.4.23")
    assert "\n" not in sentence
    for part in ("etcd 3.5,", "that etcd is 3.4.23", str(tmp_path), "sigmaos start --clean"):
        assert part in sentence


def test_other_ends_are_said_without_the_stack(tmp_path: Path) -> None:
    assert (
        etcd.explain(IN_USE, tmp_path, "") == "discovery failed: listen tcp 127.0.0.1:1: bind: address already in use"
    )
    assert etcd.explain("panic: x", tmp_path, "") == "panic: x"
