"""One call of a client, for one key or many, until every key has its answer. Pure: rounds of requests and replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from user.cache import cache_pb2 as pb
from user.cache.config import NOBODY, CacheConfig, shard_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOVING_S: Final = 1.0
"""So long a look waits for a shard that is on its way; then it is a miss."""
CHANGE_S: Final = 10.0
"""So long a change waits for its server; then it is an error."""
PAUSE_S: Final = 0.01
REQUEST_BYTES: Final = 1 << 20
"""A request with more is cut into several."""


class Asking:
    """The keys that have no answer yet."""

    def __init__(self, keys: Iterable[str], began_s: float, *, changes: bool) -> None:
        """``changes``: an answer there must be. A look may end as a miss."""
        self.left = list(dict.fromkeys(keys))
        self._changes = changes
        self._ends_s = began_s + (CHANGE_S if changes else MOVING_S)
        self._failure: serr.SigmaError | None = None
        self._failed_rounds = 0

    def by_server(self, config: CacheConfig) -> dict[str, list[str]]:
        """Whom to ask for what; keys of shards that are nobody's wait."""
        asked: dict[str, list[str]] = {}
        owners = config.owners
        for key in self.left:
            owner = owners[shard_of(key)]
            if owner != NOBODY:
                asked.setdefault(owner, []).append(key)
        return asked

    def answered(self, keys: Sequence[str], told: bytes) -> None:
        """A server's reply. IOErr if it does not speak of these keys."""
        if len(told) != len(keys):
            raise serr.IOErr("cache", f"a reply for {len(told)} of {len(keys)} keys")
        if pb.ELSEWHERE in told or pb.LATER in told:
            done = {key for key, each in zip(keys, told, strict=True) if each in (pb.DONE, pb.MISS)}
        else:
            done = set(keys)
        self.left = [key for key in self.left if key not in done] if len(done) < len(self.left) else []

    def failed(self, failure: serr.SigmaError) -> None:
        """A server did not answer."""
        self._failure = failure

    def is_over(self, now_s: float) -> bool:
        """After a round: whether that was the last. A change that did not reach its server raises: Unreachable, or
        Retry if the shard had no server all the time."""
        if not self.left:
            return True
        failure, self._failure = self._failure, None
        self._failed_rounds += failure is not None
        if not self._changes:
            # Once more, since another may have taken its place; then its keys are misses.
            return now_s >= self._ends_s or self._failed_rounds > 1
        if now_s < self._ends_s:
            return False
        what = f"key {self.left[0]}"
        raise failure or serr.Retry(what, f"its shard had no server for {CHANGE_S:g} s")


def batches(pairs: Iterable[tuple[str, bytes]]) -> Iterable[dict[str, bytes]]:
    """Pairs in portions of about ``REQUEST_BYTES``."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, value in pairs:
        if batch and size + len(value) > REQUEST_BYTES:
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(key) + len(value)
    if batch:
        yield batch
