"""Which Ray an instance runs on. Decided before Ray is imported, since it reads its authentication then."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kernel.boot.request import BootRequest

TOKEN_FILE_NAME: Final = "ray-auth-token"
"""In the state directory: what a driver needs to join an instance's own Ray (RAY_AUTH_TOKEN_PATH)."""
_DEFAULT_TOKEN: Final = "~/.ray/auth_token"


def running_address() -> str | None:
    """The address of a Ray that runs on this machine or that RAY_ADDRESS names, if it answers."""
    candidates = [os.environ.get("RAY_ADDRESS", "")]
    with contextlib.suppress(OSError):
        candidates.append(Path("/tmp/ray/ray_current_cluster").read_text())
    for candidate in candidates:
        address = candidate.strip()
        host, _, port = address.rpartition(":")
        if host and port.isdigit():
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return address
    return None


def choose(request: BootRequest) -> str | None:
    """The address of the Ray to join, or None for an own one; the environment is set for either."""
    address = None if request.own_ray else running_address()
    if address is None:
        _make_token(Path(request.state_dir) / TOKEN_FILE_NAME)
    elif "RAY_AUTH_MODE" not in os.environ and _has_token():
        # A Ray that asks for no token takes one all the same.
        os.environ["RAY_AUTH_MODE"] = "token"
    return address


def _make_token(file: Path) -> None:
    """A token for an own Ray, which nobody else's processes can then use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}


def _has_token() -> bool:
    is_configured = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return is_configured or Path(_DEFAULT_TOKEN).expanduser().exists()
