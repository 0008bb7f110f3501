"""A cache of keys and values in the memory of several servers (CA-1 to CA-6).

    with CacheJob(sc, "pages", servers=2), CacheClnt(sc, "pages") as cache:
        cache.put("front", page)
        cache.get("front")           # NotFound is a miss: is_miss(error)

Keys belong to 1009 shards, shards to servers. Servers come and go while clients go on: shards that change their server
are emptied, others stay as they are. At no time do two servers answer for one shard, so a value that was overwritten or
deleted does not come back. What is in the cache is lost with its server, and goes when there is no room for it.
"""

from user.cache.clnt import AsyncCacheClnt, CacheClnt
from user.cache.face import Cache, is_miss
from user.cache.job import AsyncCacheJob, CacheJob
from user.cache.memcached import MemcachedClnt

__all__ = ["AsyncCacheClnt", "AsyncCacheJob", "Cache", "CacheClnt", "CacheJob", "MemcachedClnt", "is_miss"]
