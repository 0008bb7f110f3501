"""memcached behind the same interface (CA-6): values in servers that SigmaOS does not run."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

from sigmaos_ray import debug, extras, serr
from sigmaos_ray.ft.sharding import fnv1a
from user.cache.face import check_key, miss, packed, unpacked
from user.cache.pending import batches
from user.cache.tuning import MEMCACHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from sigmaos_ray import SigmaClnt

ADDRESSES = "name/memcached"
"""A JSON list of addresses, ``["host:port", ...]``."""
_log = debug.selector("CACHECLNT")


class MemcachedClnt:
    """A ``Cache`` at some servers of memcached. ``close`` it, or use it as a context.

    Which server has a key follows from its FNV-1a hash and their number alone. So a server that comes back finds no key
    that another one has changed meanwhile. A look at one that does not answer is a miss, a change is Unreachable.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        """Inval for addresses that are none; MissingExtra without pymemcache."""
        extras.need("pymemcache", for_="MemcachedClnt")
        from pymemcache import PooledClient  # late: whoever uses the cache's own servers does without
        from pymemcache.exceptions import MemcacheError

        if not addresses:
            raise serr.Inval("memcached", "no addresses")
        self._errors: tuple[type[Exception], ...] = (OSError, MemcacheError)
        self._clients: list[Any] = [
            PooledClient(
                _host_and_port(address),
                connect_timeout=MEMCACHED.timeout_s,
                timeout=MEMCACHED.timeout_s,
                no_delay=True,
                allow_unicode_keys=True,
                # pymemcache's default is not to wait for replies to changes: what failed would be told to nobody.
                default_noreply=False,
            )
            for address in addresses
        ]
        self._addresses = list(addresses)

    def _at(self, key: str) -> int:
        check_key(key)
        return fnv1a(key.encode()) % len(self._clients)

    def _by_server(self, keys: Iterable[str]) -> dict[int, list[str]]:
        keys_of: dict[int, list[str]] = {}
        for key in keys:
            keys_of.setdefault(self._at(key), []).append(key)
        return keys_of

    @classmethod
    def of(cls, sc: SigmaClnt, pn: str = ADDRESSES) -> Self:
        """A client of the servers whose addresses the file ``pn`` has. NotFound without it; Inval for what is no list
        of addresses."""
        try:
            addresses = json.loads(sc.get_file(pn))
        except ValueError as error:
            raise serr.Inval(pn, f"no JSON: {error}") from error
        if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
            raise serr.Inval(pn, "not a list of addresses")
        return cls(addresses)

    def get(self, key: str) -> bytes:
        """See ``Cache.get``."""
        values = self.get_many([key])
        if key not in values:
            raise miss(key)
        return values[key]

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See ``Cache.get_many``."""
        values: dict[str, bytes] = {}
        for server, part in self._by_server(keys).items():
            try:
                # A server that does not answer makes misses of its keys alone.
                values.update(self._clients[server].get_many(part))
            except self._errors as error:
                _log(f"{self._addresses[server]}: {error}")
        return values

    def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """See ``Cache.put``; ``ttl_s`` in whole seconds, rounded up."""
        self.put_many({key: value}, ttl_s)

    def put_many(self, values: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        """See ``Cache.put_many``. Inval for a value that the server does not take."""
        expires_s = _seconds(ttl_s)
        for server, keys in self._by_server(values).items():
            for batch in batches((key, values[key]) for key in keys):
                with self._unreachable(server):
                    refused = self._clients[server].set_many(batch, expire=expires_s)
                if refused:
                    size = len(values[refused[0]])
                    raise serr.Inval(f"key {refused[0]}", f"{size} bytes: memcached did not take it")

    def append(self, key: str, value: bytes) -> None:
        """See ``Cache.append``."""
        server, data = self._at(key), packed(value)
        client = self._clients[server]
        with self._unreachable(server):
            # Either it is there, or it is not; between the two questions another client may make it, or it may go.
            for _ in range(MEMCACHED.append_tries_max):
                if client.append(key, data) or client.add(key, data):
                    return
        raise serr.Inval(f"key {key}", f"{len(value)} bytes more: memcached did not take them")

    def get_vals(self, key: str) -> list[bytes]:
        """See ``Cache.get_vals``."""
        return unpacked(key, self.get(key))

    def delete(self, key: str) -> bool:
        """See ``Cache.delete``."""
        server = self._at(key)
        with self._unreachable(server):
            return bool(self._clients[server].delete(key))

    def stats(self) -> dict[str, dict[str, Any]]:
        """memcached's own numbers, by server. Unreachable if one does not answer."""
        numbers: dict[str, dict[str, Any]] = {}
        for server, client in enumerate(self._clients):
            with self._unreachable(server):
                numbers[self._addresses[server]] = {_text(name): number for name, number in client.stats().items()}
        return numbers

    @contextlib.contextmanager
    def _unreachable(self, server: int) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise serr.Unreachable(self._addresses[server], f"memcached: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """May be repeated."""
        for client in self._clients:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise serr.Inval(address, "an address is host:port")
    return host.strip("[]"), int(port)


def _seconds(ttl_s: float | None) -> int:
    if ttl_s is None:
        return 0
    # From 30 days on, memcached takes a number for a date.
    if not 0 < ttl_s <= 30 * 24 * 3600:
        raise serr.Inval("ttl_s", f"{ttl_s} s: memcached keeps a value for 30 days at most")
    # Rounded up: 0 would mean for ever.
    return -int(-ttl_s // 1)


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
