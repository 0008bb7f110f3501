"""What reads of directories and of watches return: as much as fits a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.protsrv.walk import as_dir
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from sigmaos_ray.config import Wire
    from sigmaos_ray.protsrv.fids import Fid


async def of_watch(fid: Fid, limits: Wire) -> bytes:
    """The events that nobody has read; waits until there is one."""
    assert fid.watch is not None
    events = await fid.watch.read(limits.watch_page_events)
    encoded = [pb.WatchEvent(kind=int(event.kind), name=event.name) for event in events]  # type: ignore[arg-type]
    return pb.WatchEventList(events=encoded).SerializeToString()


async def of_dir(fid: Fid, count: int, limits: Wire) -> bytes:
    """The next entries, in ``count`` bytes at most; the fid's cursor moves on. Inval if not even one fits."""
    stats = await as_dir(fid.node).entries(fid.caller, fid.dir_cursor, limits.dir_page_entries)
    data, taken = wire.pack_dir(stats, count)
    if stats and not taken:
        raise serr.Inval(fid.node.name, f"no entry fits in {count} bytes")
    if taken:
        fid.dir_cursor = stats[taken - 1].name
    return data
