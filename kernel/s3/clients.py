"""boto3's clients: one for each credentials that callers show, and one for the node's own."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config as BotoConfig

from kernel.s3 import lending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

    from sigmaos_ray.config import Proxy
    from sigmaos_ray.sigmap import Secret

EMULATOR_KEY: Final = "sigmaos"
"""An endpoint without a profile is the embedded emulator, which takes any credentials."""
EMULATOR_REGION: Final = "us-east-1"


class _Entry:
    __slots__ = ("client", "users_count")

    def __init__(self, client: S3Client) -> None:
        self.client = client
        self.users_count = 0


# A client of boto3 is for any number of threads, but making one is not: hence the lock, and not one client per thread,
# each of which would have connections of its own.
class Clients:
    """Clients of S3 at ``endpoint`` (None: AWS), at most ``s3_clients_max`` beside those in use. Used from the threads
    of requests. Owned by a store, which closes it."""

    def __init__(self, endpoint: str | None, profile: str | None, limits: Proxy) -> None:
        """A botocore error if there is no such profile."""
        self._endpoint = endpoint
        self._emulates = bool(endpoint) and not profile
        self._session = boto3.Session(region_name=EMULATOR_REGION) if self._emulates else lending.session_of(profile)
        self._options = _options(endpoint, limits)
        self._clients_max = limits.s3_clients_max
        self._entries: OrderedDict[Secret | None, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def use(self, secret: Secret | None) -> Iterator[S3Client]:
        """The client of these credentials, None: the node's own. The first use of some makes it, in some 10 ms."""
        with self._lock:
            entry = self._entries.get(secret)
            if entry is None:
                entry = self._entries[secret] = _Entry(self._make(secret))
            self._entries.move_to_end(secret)
            entry.users_count += 1
        try:
            yield entry.client
        finally:
            with self._lock:
                entry.users_count -= 1
                self._close_idle(self._clients_max)

    def _close_idle(self, kept_max: int) -> None:
        """Closes clients that nobody uses until so many are left, the longest unused first."""
        surplus = len(self._entries) - kept_max
        idle = [secret for secret, entry in self._entries.items() if not entry.users_count]
        for secret in idle[: max(surplus, 0)]:
            self._entries.pop(secret).client.close()

    # With None for its keys a client takes those of the session's profile.
    def _make(self, secret: Secret | None) -> S3Client:
        key_id = key = token = None
        if secret is not None:
            key_id, key, token = secret.id, secret.key, secret.session_token or None
        elif self._emulates:
            key_id = key = EMULATOR_KEY
        return self._session.client(
            "s3",
            endpoint_url=self._endpoint,
            aws_access_key_id=key_id,
            aws_secret_access_key=key,
            aws_session_token=token,
            config=self._options,
        )

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Closes all that nobody uses; the others are closed by their last user."""
        with self._lock:
            # Those in use are then surplus when their users give them back.
            self._clients_max = 0
            self._close_idle(0)


def _options(endpoint: str | None, limits: Proxy) -> BotoConfig:
    # Another try is ours to make (see calls): boto3's would keep its thread while it waits, and for how long is not
    # bounded. While a body is sent the time-out of connecting counts, for each piece.
    options = BotoConfig(
        connect_timeout=limits.s3_stall_s,
        read_timeout=limits.s3_stall_s,
        max_pool_connections=limits.s3_threads,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    if not endpoint:
        return options
    compatible = BotoConfig(  # what other stores than AWS's understand
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return options.merge(compatible)
