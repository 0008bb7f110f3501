"""One call of a client, for one key or many, until every key is settled. Pure: rounds of requests and replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from user.cache import cache_pb2 as pb
from user.cache.config import NOBODY, CacheConfig, shard_of
from user.cache.tuning import CLNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class PendingKeys:
    """The keys of one call that no server has had its last word on.

    In each round, every server is asked for the keys that the configuration gives it; ``is_over`` says whether another
    round is needed, with a newer configuration.
    """

    def __init__(self, keys: Iterable[str], began_s: float, *, changes: bool) -> None:
        """``changes``: the call must reach the keys' servers, or raise. A look may end as a miss."""
        # Each once: ``settle`` counts them.
        self.keys = list(dict.fromkeys(keys))
        self._changes = changes
        self._ends_s = began_s + (CLNT.change_s if changes else CLNT.look_s)
        self._failure: serr.SigmaError | None = None
        self._failed_rounds = 0

    def by_server(self, config: CacheConfig) -> dict[str, list[str]]:
        """Which server to ask for which keys; keys of shards that are nobody's wait for another configuration."""
        keys_of: dict[str, list[str]] = {}
        owners = config.owners
        for key in self.keys:
            owner = owners[shard_of(key)]
            if owner != NOBODY:
                keys_of.setdefault(owner, []).append(key)
        return keys_of

    def settle(self, keys: Sequence[str], outcomes: bytes) -> None:
        """Takes note of a server's reply: the outcome of each of the keys. IOErr if there are more or fewer."""
        if len(outcomes) != len(keys):
            raise serr.IOErr("cache", f"a reply for {len(outcomes)} of {len(keys)} keys")
        if pb.ELSEWHERE in outcomes or pb.LATER in outcomes:
            settled = {key for key, outcome in zip(keys, outcomes, strict=True) if outcome in (pb.DONE, pb.MISS)}
        else:
            settled = set(keys)
        self.keys = [key for key in self.keys if key not in settled] if len(settled) < len(self.keys) else []

    def fail(self, failure: serr.SigmaError) -> None:
        """Takes note that a server did not answer in this round."""
        self._failure = failure

    def is_over(self, now_s: float) -> bool:
        """After a round: whether that was the last. A change that did not reach its server in time raises why:
        Unreachable, or Retry if the shard had no server all the time."""
        if not self.keys:
            return True
        # The error of this round alone: an older one would blame a server that has answered since.
        failure, self._failure = self._failure, None
        self._failed_rounds += failure is not None
        if not self._changes:
            # Once more, since another server may have its shards by now; then its keys are misses.
            return now_s >= self._ends_s or self._failed_rounds > 1
        if now_s < self._ends_s:
            return False
        raise failure or serr.Retry(f"key {self.keys[0]}", f"its shard had no server for {CLNT.change_s:g} s")


def batches(pairs: Iterable[tuple[str, bytes]]) -> Iterable[dict[str, bytes]]:
    """Keys and values in portions of about ``CacheClntTuning.request_bytes``."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, value in pairs:
        # A value that is larger by itself still goes, alone: whether it has room its server says.
        if batch and size + len(value) > CLNT.request_bytes:
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(key) + len(value)
    if batch:
        yield batch
