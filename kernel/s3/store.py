"""S3 as a caller may use it: with its credentials, and its share of the threads. Each call is one request."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from kernel.s3 import requests
from kernel.s3.calls import Calls
from kernel.s3.clients import Clients
from kernel.s3.errors import BOTO_ERRORS, About, from_boto, refusal
from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.instance import S3_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from mypy_boto3_s3 import S3Client

    from kernel.s3.requests import Chunk, Range, Taker, UploadPart
    from kernel.s3.state import DirPage, KeyPage, ObjectInfo
    from sigmaos_ray.config import Proxy
    from sigmaos_ray.rpcsrv import Caller
    from sigmaos_ray.sigmap import Secret

T = TypeVar("T")


class S3Store:
    """S3 at ``endpoint`` (None: AWS); the node's own credentials are those of an AWS profile. Owned by the server,
    which closes it."""

    def __init__(self, endpoint: str | None, profile: str | None, limits: Proxy | None = None) -> None:
        """Blocks for some 0.3 s while boto3 loads its tables. Perm if there is no such profile."""
        self.limits = limits or configuration.current().proxy
        try:
            self._clients = Clients(endpoint, profile, self.limits)
            # The first client takes longest to make: now, and not while the first request holds the lock.
            with self._clients.use(None):
                pass
        except BOTO_ERRORS as error:
            raise from_boto(error, About("s3")) from error
        self.calls = Calls(self._clients, self.limits)
        self.granted: frozenset[str] | None = None
        """The buckets that callers reach with the node's own credentials; None: all."""

    def of(self, caller: Caller) -> Account:
        """S3 as this caller sees it. Perm for one without credentials where the node's own are not for callers."""
        secret = caller.secret(S3_SERVICE)
        if secret is None and not self.limits.s3_own_credentials:
            raise serr.Perm("s3", "show S3 credentials: SIGMAOS_S3_KEY and SIGMAOS_S3_SECRET")
        # Threads are shared by session: a client that opens many files has no more turns for that.
        granted = self.granted if secret is None else None
        return Account(self.calls, (caller.session_id, caller.client_id), secret, granted)

    def own(self) -> Account:
        """S3 as the node itself sees it."""
        return Account(self.calls, "s3", None)

    @property
    def credentials_count(self) -> int:
        """Of those whose connections are kept."""
        return len(self._clients)

    def close(self) -> None:
        """Waits for requests under way."""
        self.calls.close()
        self._clients.close()


class Account:
    """S3 with one caller's credentials. Raises ``serr`` errors of the component concerned."""

    def __init__(
        self, calls: Calls, who: Hashable, secret: Secret | None, granted: frozenset[str] | None = None
    ) -> None:
        """``granted``: the buckets that there are for this caller; None: those that its credentials may see."""
        self._calls = calls
        self._granted = granted
        self._who = who
        self.secret = secret

    async def _run(
        self,
        call: Callable[[S3Client], T],
        about: About,
        *,
        size: int = 0,
        timeout_s: float | None = None,
        repeats: bool = True,
    ) -> T:
        if self._granted is not None and about.bucket and about.bucket not in self._granted:
            raise serr.Perm(about.bucket, "not granted to this realm: `sigmaos realm grant` does that")
        wait_s = timeout_s or self._calls.time_for(size)
        return await self._calls.run(self._who, self.secret, call, about, timeout_s=wait_s, repeats=repeats)

    # -- looking

    async def buckets(self) -> list[str]:
        """In order of name."""
        names = await self._run(requests.buckets, About("s3"))
        return names if self._granted is None else [name for name in names if name in self._granted]

    async def has_bucket(self, bucket: str) -> bool:
        """Perm for one that is another account's."""
        try:
            return await self._run(partial(requests.has_bucket, bucket=bucket), About(bucket, bucket))
        except serr.NotFound:  # no name for one
            return False

    async def make_bucket(self, bucket: str) -> None:
        """Exists for a name that any account has, Inval for one that no bucket may have, Perm without the right."""
        call = partial(requests.make_bucket, bucket=bucket)
        try:
            # Not again: a second try would meet the bucket of the first.
            await self._run(call, About(bucket, changes=True), repeats=False)
        except serr.NotFound as error:
            raise serr.Inval(bucket, error.msg) from error

    async def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """None if there is no such object, or no such bucket."""
        call = partial(requests.head, bucket=bucket, key=key)
        return await self._run(call, About(requests.name_of(key), bucket))

    async def keys(self, bucket: str, beginning: str, after: str = "", count: int = requests.LIST_KEYS_MAX) -> KeyPage:
        """Keys that begin so, at any depth. NotFound of the bucket if there is none of that name."""
        call = partial(requests.keys, bucket=bucket, beginning=beginning, after=after, count=count)
        return await self._run(call, About(requests.name_of(beginning.rstrip("/")), bucket))

    async def list(self, bucket: str, prefix: str, after: str, token: str) -> DirPage:
        """One page of a directory, behind the name ``after``, or going on from ``token``."""
        call = partial(requests.dir_page, bucket=bucket, prefix=prefix, after=after, token=token)
        return await self._run(call, About(requests.name_of(prefix), bucket))

    # -- contents

    async def read(self, wanted: Range) -> tuple[bytes, ObjectInfo] | None:
        """A range, and what object it is of. Empty past the end; None if there is no such object, or no bucket."""
        about = About(requests.name_of(wanted.key), wanted.bucket)
        return await self._run(partial(requests.read, wanted=wanted), about, size=wanted.count)

    async def read_pieces(self, taker: Taker) -> None:
        """Hands on what the taker wants, piece by piece. After a connection that broke it goes on where that was."""
        wanted = taker.wanted

        def call(client: S3Client) -> None:
            # Looked up at each try: what came before the connection broke is not asked for again.
            rest = taker.rest()
            if rest is not None:
                requests.read_pieces(client, rest, taker)

        await self._run(call, About(requests.name_of(wanted.key), wanted.bucket), size=wanted.count)

    async def put(self, bucket: str, key: str, chunks: Sequence[Chunk], *, exclusive: bool) -> str:
        """The whole object, at once; returns its ETag. ``exclusive``: Exists if there is one."""
        size = _size_of(chunks)
        until = time.monotonic() + self._calls.time_for(size)
        call = partial(requests.put, bucket=bucket, key=key, chunks=chunks, until=until, exclusive=exclusive)
        about = About(requests.name_of(key), bucket, changes=True)
        # A second try of an exclusive put whose first one worked would meet its own object.
        return await self._run(call, about, size=size, repeats=not exclusive)

    async def delete(self, bucket: str, key: str) -> None:
        """A key that is not there is no error."""
        # Tried again though it may have been carried out: under the key's lock this server makes no newer object in
        # between.
        call = partial(requests.delete, bucket=bucket, key=key)
        await self._run(call, About(requests.name_of(key), bucket, changes=True))

    async def delete_many(self, bucket: str, keys: Sequence[str]) -> None:
        """At most 1000 keys. The first that S3 refuses is raised; the others are removed."""
        call = partial(requests.delete_many, bucket=bucket, keys=keys)
        for key, code in await self._run(call, About(requests.name_of(keys[0]), bucket, changes=True)):
            raise refusal(code, requests.name_of(key))

    # -- objects in parts

    async def start_parts(self, bucket: str, key: str) -> str:
        """Begins an upload; returns its id. It ends by ``finish_parts`` or ``abort_parts``."""
        call = partial(requests.start_parts, bucket=bucket, key=key)
        return await self._run(call, About(requests.name_of(key), bucket, changes=True))

    async def put_part(self, part: UploadPart, chunks: Sequence[Chunk]) -> str:
        """Returns the part's ETag."""
        size = _size_of(chunks)
        until = time.monotonic() + self._calls.time_for(size)
        call = partial(requests.put_part, part=part, chunks=chunks, until=until)
        return await self._run(call, About(requests.name_of(part.key), part.bucket, changes=True), size=size)

    async def finish_parts(self, bucket: str, key: str, upload: str, etags: Sequence[str], *, exclusive: bool) -> str:
        """The object appears; returns its ETag. ``exclusive``: Exists if there is one."""
        call = partial(requests.finish_parts, bucket=bucket, key=key, upload=upload, etags=etags, exclusive=exclusive)
        about = About(requests.name_of(key), bucket, changes=True)
        timeout_s = self._calls.limits.s3_finish_timeout_s
        return await self._run(call, about, timeout_s=timeout_s, repeats=not exclusive)

    async def abort_parts(self, bucket: str, key: str, upload: str) -> None:
        """Drops the parts; nothing appears. No error if the upload is over."""
        call = partial(requests.abort_parts, bucket=bucket, key=key, upload=upload)
        await self._run(call, About(requests.name_of(key), bucket, changes=True))


def _size_of(chunks: Sequence[Chunk]) -> int:
    return sum(len(chunk) for chunk in chunks)
