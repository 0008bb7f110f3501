"""A client in another language (Node.js), written from docs/protocol.md, that finds the service by reflection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.auth.files import token_for

if TYPE_CHECKING:
    from sigmaos_ray.testing import Tstate

SOURCES = Path(__file__).parent / "nodeclient"
INSTALL_S = 120
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with what it needs, installed into a directory of its own."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js: apt-get install nodejs npm")
    directory = tmp_path_factory.mktemp("node") / "client"
    shutil.copytree(SOURCES, directory)
    install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--ignore-scripts"]
    try:
        result = subprocess.run(install, cwd=directory, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install @grpc/grpc-js within {INSTALL_S} s")
    if result.returncode:
        pytest.skip(f"npm cannot install @grpc/grpc-js here: {result.stderr.strip().splitlines()[-1:]}")
    return directory / "client.js"


@pytest.mark.parametrize("kind", ["grpc", "plain"])
def test_it_lists_name_and_reads_a_file(tstate_all: Tstate, client: Path, kind: str) -> None:
    """Over each kind of main connection, and over a plain one beside it; a large file behind its message."""
    sc = tstate_all.sc
    contents = "read: \N{GREEK SMALL LETTER LAMDA}" * 6000
    sc.put_file("name/from-node", contents.encode())
    try:
        address = sc.get_named_endpoint().addrs[0]
        result = subprocess.run(
            ["node", str(client), address, "from-node", kind],
            env={**os.environ, "SIGMAOS_TOKEN": token_for(sc.realm, tstate_all.instance.state_dir)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["contents"] == report["beside"] == contents
        assert set(report["names"]) == {stat.name for stat in sc.get_dir("name/")}
        assert {"sigmaos_ray.pb.Sigma", "grpc.health.v1.Health"} <= set(report["services"])
    finally:
        sc.remove("name/from-node")
