"""What services keep on the disk is forgotten as their descriptors say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kernel.boot import keptfiles
from kernel.db.server import database_url
from kernel.keeping import FENCES_FILE
from kernel.s3.server import directory_of as s3_directory_of
from kernel.s3.uploads import UPLOADS_FILE
from kernel.shell import KernelArgs
from kernel.ux.server import directory_of as ux_directory_of

if TYPE_CHECKING:
    from pathlib import Path

REALMS = ("rootrealm", "tenant", "tenant2")


def keep(state_dir: Path, realm: str, number: int) -> list[Path]:
    """Files of each service on one node of the host, where the services themselves put them."""
    files = str(keptfiles.node_dir(state_dir, number))
    args = KernelArgs(kernel_id=f"sigma-{number}", realm=realm, state_dir=str(state_dir), node_dir=files)
    database = state_dir / database_url(args).removeprefix("sqlite:///")
    kept = [
        state_dir.joinpath(ux_directory_of(args), "file"),
        state_dir.joinpath(s3_directory_of(args), FENCES_FILE),
        database,
        database.with_name(f"{database.name}-wal"),
    ]
    for file in kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(realm)
    return kept


@pytest.fixture
def kept(tmp_path: Path) -> dict[str, list[Path]]:
    return {realm: keep(tmp_path, realm, 1) + keep(tmp_path, realm, 2) for realm in REALMS}


def test_a_realm_takes_its_files_along_and_no_others(tmp_path: Path, kept: dict[str, list[Path]]) -> None:
    keptfiles.forget_realm(tmp_path, "tenant")
    assert [file for file in kept["tenant"] if file.exists()] == []
    assert [file for realm in ("rootrealm", "tenant2") for file in kept[realm] if not file.exists()] == []


def test_a_clean_start_forgets_all_but_uploads_and_logs(tmp_path: Path, kept: dict[str, list[Path]]) -> None:
    etcd = tmp_path / keptfiles.ETCD_DIR_NAME / "data"
    uploads = kept["tenant"][1].with_name(UPLOADS_FILE)
    log = tmp_path / "logs" / "ux.log"
    for file in (etcd, uploads, log):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    keptfiles.forget_all(tmp_path)
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted([uploads, log])


def test_a_realm_is_no_pattern(tmp_path: Path, kept: dict[str, list[Path]]) -> None:
    keptfiles.forget_realm(tmp_path, "tenan?")
    assert all(file.exists() for files in kept.values() for file in files)


def test_a_host_that_was_away_forgets_what_was_removed_meanwhile(tmp_path: Path, kept: dict[str, list[Path]]) -> None:
    boots, hosts = tmp_path / "boot", tmp_path
    boots.mkdir()
    keptfiles.forget_removed(hosts, keptfiles.record(boots))
    keptfiles.record_removal(boots, "tenant")
    keptfiles.forget_removed(hosts, keptfiles.record(boots))
    assert [file for file in kept["tenant"] if file.exists()] == []
    assert all(file.exists() for realm in ("rootrealm", "tenant2") for file in kept[realm])
    # A realm of that name that is made later is another one: what was forgotten once is not forgotten again.
    anew = keep(hosts, "tenant", 1)
    keptfiles.forget_removed(hosts, keptfiles.record(boots))
    assert all(file.exists() for file in anew)
    keptfiles.record_removal(boots, "tenant")
    assert len(keptfiles.record(boots).removals) == 1
    keptfiles.forget_removed(hosts, keptfiles.record(boots))
    assert not any(file.exists() for file in anew)


def test_a_clean_start_is_for_hosts_that_come_back_too(tmp_path: Path, kept: dict[str, list[Path]]) -> None:
    boots = tmp_path / "boot"
    boots.mkdir()
    keptfiles.forget_removed(tmp_path, keptfiles.record(boots))
    keptfiles.record_removal(boots, "tenant")
    keptfiles.record_removal(boots, keptfiles.EVERYTHING)
    assert [removal.realm for removal in keptfiles.record(boots).removals] == [keptfiles.EVERYTHING]
    keptfiles.forget_removed(tmp_path, keptfiles.record(boots))
    assert not any(file.exists() for realm in REALMS for file in kept[realm])


@pytest.mark.parametrize("comes_from", ["nowhere", "another instance"])
def test_a_host_that_was_no_part_of_the_instance_keeps_what_it_has(
    tmp_path: Path, kept: dict[str, list[Path]], comes_from: str
) -> None:
    boots, others = tmp_path / "boot", tmp_path / "other"
    boots.mkdir()
    others.mkdir()
    if comes_from == "another instance":
        keptfiles.forget_removed(tmp_path, keptfiles.record(others))
    keptfiles.record_removal(boots, "tenant")
    keptfiles.record_removal(boots, keptfiles.EVERYTHING)
    keptfiles.forget_removed(tmp_path, keptfiles.record(boots))
    assert all(file.exists() for realm in REALMS for file in kept[realm])
