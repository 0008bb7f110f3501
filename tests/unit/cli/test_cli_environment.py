"""``sigmaos env`` and ``sigmaos doctor``: what others need of the instance, and it of the machine."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray.cli import doctor
from sigmaos_ray.cli.environment import variables_of
from sigmaos_ray.instance import STATE_FILE_NAME, Instance
from sigmaos_ray.sigmap import Endpoint, Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outcome import Outcome

INSTANCE = Instance(
    realm="rootrealm",
    state_dir="/of/the/instance",
    boot_pid=1,
    boot_machine="elsewhere",
    ready=True,
    etcd_endpoints=["10.0.0.1:2379", "10.0.0.2:2379"],
    s3_endpoint="http://127.0.0.1:9000",
    ray_address="10.0.0.1:6379",
    ray_temp_dir="/tmp/sigmaos-ray-1",
    named=Endpoint(addrs=("10.0.0.1:5640",)),
)


def test_a_shell_and_programs_take_it_over(sigmaos: Callable[..., Outcome], state_dir: Path) -> None:
    """Word for word, whatever stands in it."""
    odd = state_dir.with_name("with 'quotes' and $blanks")
    odd.mkdir()
    (odd / "ray-auth-token").write_text("token")
    (odd / STATE_FILE_NAME).write_bytes(msgspec.structs.replace(INSTANCE, state_dir=str(odd)).to_json())
    variables = json.loads(sigmaos("--state-dir", str(odd), "env", "--json").out)
    script = sigmaos("--state-dir", str(odd), "env").out + "env -0"
    clean = {"PATH": os.environ["PATH"]}
    printed = subprocess.run(["bash", "-c", script], env=clean, capture_output=True, text=True, check=True).stdout
    inherited = dict(line.split("=", 1) for line in printed.split("\0") if line)
    assert variables.items() <= inherited.items()
    assert variables == {
        "SIGMAOS_STATE_DIR": str(odd),
        "RAY_ADDRESS": "10.0.0.1:6379",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(odd / "ray-auth-token"),
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": "10.0.0.1:2379,10.0.0.2:2379",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
        "AWS_ACCESS_KEY_ID": "sigmaos",
        "AWS_SECRET_ACCESS_KEY": "sigmaos",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MC_HOST_sigmaos": "http://sigmaos:sigmaos@127.0.0.1:9000",
    }


def test_without_an_instance_there_is_nothing(sigmaos: Callable[..., Outcome]) -> None:
    sigmaos("env").failed_with(1, "no running instance")


def test_the_callers_credentials_come_first() -> None:
    of_profile = msgspec.structs.replace(INSTANCE, s3_credentials_profile="books")
    assert variables_of(of_profile, None, None)["AWS_PROFILE"] == "books"
    own = variables_of(of_profile, None, Secret("s3", "me", "p/w", "until noon"))
    assert "AWS_PROFILE" not in own
    assert own["AWS_SESSION_TOKEN"] == "until noon"
    assert own["MC_HOST_sigmaos"] == "http://me:p%2Fw@127.0.0.1:9000"


def test_of_an_instance_elsewhere(tmp_path: Path) -> None:
    """Its state directory is not here, nor is its Ray's token; of a Ray that was joined, whoever uses it has that."""
    variables = variables_of(INSTANCE, None, None)
    assert variables["SIGMAOS_NAMED"] == "10.0.0.1:5640"
    assert not {"SIGMAOS_STATE_DIR", "RAY_AUTH_TOKEN_PATH"} & variables.keys()
    (tmp_path / "ray-auth-token").write_text("of an earlier one")
    joined = msgspec.structs.replace(INSTANCE, ray_temp_dir="", s3_endpoint=None)
    assert variables_of(joined, tmp_path, None).keys() == {
        "SIGMAOS_STATE_DIR",
        "RAY_ADDRESS",
        "ETCDCTL_API",
        "ETCDCTL_ENDPOINTS",
    }


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("2.60.0", "<2.61,>=2.60.0", True),
        ("2.60", ">=2.60.0", True),
        ("2.61.0", ">=2.60.0,<2.61", False),
        ("2.9.1", ">=2.10", False),
        ("46.0.1", ">=46,<51", True),
        ("7.35.1rc1", ">=7.35.1", True),
        ("1.0", "", True),
    ],
)
def test_ranges_of_versions(version: str, wanted: str, holds: bool) -> None:
    assert doctor.fits(version, wanted) == holds


def test_doctor_says_what_helps(sigmaos: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each package its version, the one that is wanted, and the command for one that is missing or old."""
    really = metadata.version
    versions = {"boto3": "1.2.3", "rich": None, "ray": None}

    def version(name: str) -> str:
        found = versions[name] if name in versions else really(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor.metadata, "version", version)
    outcome = sigmaos("doctor")
    lines = {line[5:].partition(":")[0]: line for line in outcome.out.splitlines()}
    assert outcome.code == 1
    assert lines["grpcio"].startswith(f"ok   grpcio: {really('grpcio')}, wants ")
    assert lines["rich"].startswith("BAD  rich: not installed, wants ")
    assert lines["rich"].endswith(": pip install sigmaos-ray")
    assert lines["boto3"].startswith("BAD  boto3: 1.2.3, wants ")
    assert "pip install 'boto3" in lines["boto3"]
    assert lines["ray"].startswith("none ray: not installed, wants ")
    assert lines["ray"].endswith(": pip install 'sigmaos-ray[ray]'")
    assert "mypy" not in lines
    findings = json.loads(sigmaos("doctor", "--json").out)
    assert {finding["what"] for finding in findings} == lines.keys()


def test_an_etcd_that_speaks_tls(tmp_path: Path) -> None:
    """With this host's certificate, where the instance is of this machine."""
    speaks = msgspec.structs.replace(INSTANCE, etcd_tls=str(tmp_path))
    variables = variables_of(speaks, tmp_path, None)
    assert variables["ETCDCTL_ENDPOINTS"] == "https://10.0.0.1:2379,https://10.0.0.2:2379"
    names = {"ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"}
    assert {variables[name].rpartition("/")[0] for name in names} == {str(tmp_path)}
    elsewhere = msgspec.structs.replace(INSTANCE, etcd_tls=str(tmp_path / "none"))
    assert not names & variables_of(elsewhere, None, None).keys()


def test_credentials_go_along_from_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGMAOS_CREDENTIALS", "/of/mine.json")
    assert variables_of(INSTANCE, None, None)["SIGMAOS_CREDENTIALS"] == "/of/mine.json"
    assert "SIGMAOS_CREDENTIALS" not in variables_of(INSTANCE, tmp_path, None)
