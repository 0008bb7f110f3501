"""A cache whose servers fill their hosts, so that they are on several, used from here. Prints the servers' hosts."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt
from user.cache import CacheClnt, CacheJob
from user.cache.paths import CachePaths


def main() -> None:
    values = {f"key-{number}": b"%d" % number for number in range(300)}
    with SigmaClnt() as sc, CacheJob(sc, "hosts", servers=3, mcpu=1200) as job, CacheClnt(sc, "hosts") as cache:
        cache.put_many(values)
        assert cache.get_many(values) == values
        assert all(each.keys for each in cache.stats().values())
        places = [sc.read_endpoint(CachePaths("hosts").server(name)) for name in job.servers()]
        print(*sorted(place.addrs[0].rpartition(":")[0] for place in places))


if __name__ == "__main__":
    main()
