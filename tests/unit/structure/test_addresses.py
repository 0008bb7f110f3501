"""What is served listens at its node's address, and says so: loopback is where others are not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOOPBACK = {
    "sigmaos_ray/config.py": "what it is, and where a proc serves that was told nothing",
    "sigmaos_ray/instance.py": "of a client that has no way to the instance",
    "sigmaos_ray/protsrv/server.py": "the default of a server that is made by hand",
    "kernel/boot/backup.py": "an etcd that only the restore itself uses",
    "kernel/boot/handle.py": "the host of an instance on one machine",
    "kernel/boot/placing.py": "the same",
    "kernel/shell.py": "the same",
    "sigmaos_ray/cli/network.py": "where what listens everywhere is looked at",
    "sigmaos_ray/sessp/dialling.py": "where nobody asks whether TLS is in the way",
}


def _files() -> list[Path]:
    files = [file for part in ("kernel", "sigmaos_ray", "user") for file in (ROOT / part).rglob("*.py")]
    return [file for file in files if "testing" not in file.parts and not file.name.endswith("_pb2.py")]


def test_loopback_is_the_default_of_few() -> None:
    names = re.compile(r"127\.0\.0\.1|\bLOOPBACK\b|localhost|0\.0\.0\.0")
    naming = {str(file.relative_to(ROOT)) for file in _files() if names.search(file.read_text())}
    assert naming == set(LOOPBACK)


def test_every_server_of_sigmap_is_told_its_address() -> None:
    """``SigmaSrv`` tells its own by the client that it advertises with."""
    for file in _files():
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "FileServer":
                told = {keyword.arg for keyword in call.keywords}
                assert "host" in told, f"{file.relative_to(ROOT)}:{call.lineno}"


def test_every_socket_that_listens_is_told_its_address() -> None:
    for file in _files():
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("create_server", "start_server"):
                names = [part for part in ast.walk(call) if isinstance(part, (ast.Attribute, ast.Name))]
                hosts = {part.attr if isinstance(part, ast.Attribute) else part.id for part in names}
                assert hosts & {"host", "_host"}, f"{file.relative_to(ROOT)}:{call.lineno}"
