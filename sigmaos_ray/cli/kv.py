"""``kv``: key-value stores (KV-1 to KV-10)."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, ending_on_signals, print_json, print_table, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from user.kv.blocking import KvClerk
    from user.kv.job import KvJob

DEFAULT: Final = "kv"
_HEADER: Final = ("GROUP", "STATE", "SHARDS", "KEYS", "BYTES", "GETS", "WRITES", "CPU", "AGE", "COPIES", "NOTE")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Store = Annotated[str, typer.Option("--store", "-s", help="The store's name.")]
Members = Annotated[int, typer.Option(min=1, help="Servers of a group: one serves, the others stand by; and copies.")]

kv = typer.Typer(no_args_is_help=True, help="Key-value stores: sharded, durable, growing while they serve.")


def register(app: typer.Typer) -> None:
    app.add_typer(kv, name="kv")


@contextmanager
def _job(store: str) -> Iterator[KvJob]:
    from user.kv.job import KvJob

    with client() as sc:
        job = KvJob(sc, store)
        try:
            yield job
        finally:
            job.close()


@contextmanager
def _clerk(store: str, timeout_s: float) -> Iterator[KvClerk]:
    from user.kv.blocking import KvClerk

    with client() as sc, KvClerk(sc, store, timeout_s) as clerk:
        yield clerk


Timeout = Annotated[float, typer.Option(min=0.1, help="Give up after so many seconds.")]


@kv.command()
def start(
    store: Store = DEFAULT,
    servers: Annotated[int, typer.Option(min=1, help="Groups of servers.")] = 1,
    members: Members = 1,
    auto: Annotated[int, typer.Option(min=0, help="Add and remove groups by load, up to so many.")] = 0,
    mcpu: Annotated[float, typer.Option(min=1, help="Thousandths of a core that each server reserves.")] = 100,
    as_json: Json = False,
) -> None:
    """Start a store. What is interrupted half-way leaves none."""
    with ending_on_signals(), _job(store) as job:
        groups = job.start(servers, members, auto, mcpu)
    print_json({"store": store, "groups": groups}) if as_json else print(f"{store}: {' '.join(groups)}")


@kv.command()
def add(store: Store = DEFAULT, members: Members = 1, as_json: Json = False) -> None:
    """Add a group of servers and give it its share of the shards."""
    with _job(store) as job:
        group = job.add(members)
    print_json({"store": store, "group": group}) if as_json else print(group)


@kv.command()
def rm(group: Annotated[str, typer.Argument(metavar="GROUP")], store: Store = DEFAULT) -> None:
    """Give a group's shards to the others, and end it."""
    with _job(store) as job:
        job.remove(group)


@kv.command()
def auto(
    groups_max: Annotated[int, typer.Argument(min=0, metavar="MOST", help="0: groups come and go only when asked.")],
    store: Store = DEFAULT,
    members: Members = 1,
) -> None:
    """Add and remove groups by load, up to so many."""
    with _job(store) as job:
        job.auto(groups_max, members)


@kv.command()
def get(key: str, store: Store = DEFAULT, timeout_s: Timeout = 30) -> None:
    """Write a key's value to standard output, as it is."""
    with _clerk(store, timeout_s) as clerk:
        value = clerk.get(key)
    sys.stdout.buffer.write(value)
    sys.stdout.buffer.flush()


@kv.command()
def put(
    key: str,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="- is standard input.")],
    append: Annotated[bool, typer.Option("--append", help="Put it behind what is there.")] = False,
    store: Store = DEFAULT,
    timeout_s: Timeout = 30,
) -> None:
    """Put a value."""
    data = sys.stdin.buffer.read() if value == "-" else os.fsencode(value)
    with _clerk(store, timeout_s) as clerk:
        clerk.append(key, data) if append else clerk.put(key, data)


@kv.command()
def delete(key: str, store: Store = DEFAULT, timeout_s: Timeout = 30) -> None:
    """Delete a key."""
    with _clerk(store, timeout_s) as clerk:
        if not clerk.delete(key):
            raise serr.NotFound(f"key {key}")


@kv.command()
def scan(
    shard: Annotated[int | None, typer.Argument(metavar="[SHARD]", help="One of the 100 shards; none: all.")] = None,
    store: Store = DEFAULT,
    timeout_s: Timeout = 30,
) -> None:
    """List keys, one a line."""
    from user.kv.keys import SHARDS_COUNT

    with _clerk(store, timeout_s) as clerk:
        for number in range(SHARDS_COUNT) if shard is None else [shard]:
            for key in clerk.scan(number):
                print(shown(key))


@kv.command()
def stats(store: Store = DEFAULT, as_json: Json = False) -> None:
    """Show each group: what it has, how often it was asked, how busy it was."""
    with _job(store) as job:
        report = job.stats()
    groups = [_described(group) for group in report.groups]
    if as_json:
        moves = {"epoch": report.epoch, "seqno": report.seqno, "moves": report.moves}
        print_json({"store": store, **moves, "groups": groups})
        return
    print_table(_HEADER, [_row(group) for group in groups])


def _described(group: Any) -> dict[str, Any]:
    server = group.server
    return {
        "group": group.group,
        "state": group.state,
        "serves": not group.trouble,
        "trouble": group.trouble,
        "starts": group.starts,
        "pid": server.pid,
        "shards": list(server.shards),
        "keys": server.keys,
        "value_bytes": server.value_bytes,
        "log_bytes": server.log_bytes,
        "gets": server.gets,
        "writes": server.writes,
        "cpu_s": server.cpu_s,
        "uptime_s": server.uptime_s,
        "nodes": list(server.nodes),
    }


def _row(group: dict[str, Any]) -> list[str]:
    if not group["serves"]:
        return [group["group"], group["state"], *["-"] * 8, shown(group["trouble"])]
    counts = [str(group[name]) for name in ("keys", "value_bytes", "gets", "writes")]
    times = [f"{group['cpu_s']:.1f} s", f"{group['uptime_s']:.1f} s"]
    return [
        group["group"],
        group["state"],
        str(len(group["shards"])),
        *counts,
        *times,
        str(len(group["nodes"])),
        group["pid"],
    ]


@kv.command(name="ls")
def list_stores(as_json: Json = False) -> None:
    """List the stores."""
    from user.kv.job import KvJob

    with client() as sc:
        names = KvJob.all(sc)
    print_json(names) if as_json else print("\n".join(names), end="\n" if names else "")


@kv.command()
def stop(store: Store = DEFAULT) -> None:
    """End a store and remove all that it kept."""
    with _job(store) as job:
        job.stop()
