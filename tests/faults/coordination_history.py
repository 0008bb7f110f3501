"""What the clients of a run recorded, and whether it can be: pure.

Times are of the steady clock, which the processes of one machine share. Versions are revisions of named's store, so
they order all that is in it.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OK = "ok"
UNKNOWN = ("IOErr", "cancelled")


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One thing that a client did or learned."""

    client: str
    kind: str
    key: str
    number: int
    """The epoch, the lock file's version, or the task."""
    began_s: float
    ended_s: float
    outcome: str = OK
    error: str = ""
    """The text of the error."""


class FinalState(msgspec.Struct):
    """What is there after the end of a run."""

    entries: dict[str, int] = {}
    """What leaders wrote, by name ``<epoch>-<client>-<n>``, with its version."""
    locked: dict[str, int] = {}
    """What lock holders wrote, by name ``<version of the lock file>-<client>-<n>``."""
    files: list[str] = []
    """Those that came and did not go again, by name."""
    tasks_done: dict[int, str] = {}
    """Each task's output: the client that did it."""
    raised_s: dict[str, float] = {}
    """When the raising of each semaphore began."""
    left_behind: list[str] = []


def read(files: Iterable[Path]) -> list[Record]:
    """The records of files, a line each. The last line of a client that was killed may be torn."""
    decoder = msgspec.json.Decoder(Record)
    return [decoder.decode(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]


def check(records: list[Record], final: FinalState) -> list[str]:
    """What must not have happened; empty if all is well."""
    by_kind: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[record.kind].append(record)
    return [
        *_check_leaders(by_kind, final),
        *_check_acknowledged(by_kind["write"], final.entries),
        *_check_acknowledged(by_kind["locked"], final.locked),
        *_check_locks(by_kind, final),
        *_check_semaphores(by_kind["down"], final),
        *_check_views(by_kind["view"], final),
        *_check_tasks(by_kind, final),
        *(f"{record.client}: {record.key} did not end" for record in by_kind["stuck"]),
        *(f"left behind: {what}" for what in final.left_behind),
    ]


def _check_leaders(by_kind: dict[str, list[Record]], final: FinalState) -> Iterator[str]:
    """One leader per epoch; epochs grow; and whoever wrote led at the revision of what it wrote."""
    authors: defaultdict[int, set[str]] = defaultdict(set)
    for record in by_kind["lead"]:
        authors[record.number].add(record.client)
    for name in final.entries:
        number, client, _ = name.split("-")
        authors[int(number)].add(client)
    yield from (f"epoch {epoch} has the leaders {who}" for epoch, who in authors.items() if len(who) > 1)
    epochs = sorted(authors)
    for name, version in final.entries.items():
        epoch = int(name.split("-")[0])
        newer = next((other for other in epochs if other > epoch), version + 1)
        if not epoch < version < newer:
            yield f"entry {name} was written at {version}, after epoch {newer} began"
    led = sorted(by_kind["lead"], key=lambda record: record.ended_s)
    for before, after in itertools.pairwise(led):
        # What began after another one had ended; others may have learned of it in any order.
        if before.ended_s < after.began_s and after.number <= before.number:
            yield f"epoch {after.number} of {after.client} came after {before.number} of {before.client}"


def _check_acknowledged(writes: list[Record], there: dict[str, int]) -> Iterator[str]:
    """What was acknowledged is there; what was refused is not."""
    for record in writes:
        if record.outcome == OK and record.key not in there:
            yield f"{record.key} was acknowledged and is not there"
        if record.outcome == "Stale" and record.key in there:
            yield f"{record.key} was refused and is there: {record.error}"


def _check_locks(by_kind: dict[str, list[Record]], final: FinalState) -> Iterator[str]:
    """Nobody holds it while another one does: by the clock, and by the order of what holders wrote."""
    held: dict[int, list[Record]] = defaultdict(list)
    for record in by_kind["held"]:
        held[record.number].append(record)
    spans = sorted(
        (min(each.began_s for each in mine), max(each.began_s for each in mine), number, mine[0].client)
        for number, mine in held.items()
    )
    for number, mine in held.items():
        if len({record.client for record in mine}) > 1:
            yield f"two hold the lock of {number}"
    for first, second in itertools.pairwise(spans):
        if second[0] < first[1]:
            yield f"{second[3]} got the lock {second[2]} while {first[3]} held {first[2]}"
    numbers = sorted(held)
    for record in by_kind["locked"]:
        version = final.locked.get(record.key)
        newer = next((other for other in numbers if other > record.number), None)
        if record.outcome == OK and version is not None and newer is not None and version > newer:
            yield f"{record.key} was written under a lock that was {newer}'s by then"


def _check_semaphores(downs: list[Record], final: FinalState) -> Iterator[str]:
    """Nobody passes before it is raised."""
    for record in downs:
        if record.ended_s < final.raised_s[record.key]:
            yield f"{record.client} passed {record.key} before it was raised"


def _check_views(views: list[Record], final: FinalState) -> Iterator[str]:
    """What a watcher put together from what it heard is what is there."""
    there = set(final.files)
    for record in views:
        seen = set(record.key.split())
        if seen != there:
            yield f"{record.client} did not hear of {sorted(seen ^ there)}"


def _check_tasks(by_kind: dict[str, list[Record]], final: FinalState) -> Iterator[str]:
    """A task goes to one, and the output that was acknowledged is the one that is there."""
    got = Counter(record.number for record in by_kind["acquire"])
    yield from (f"task {number} went to {count}" for number, count in got.items() if count > 1)
    for record in by_kind["output"]:
        if record.outcome == OK and final.tasks_done.get(record.number) != record.client:
            yield f"task {record.number} was done by {record.client}, not {final.tasks_done.get(record.number)}"


def summary(records: list[Record]) -> str:
    """How many things of each kind were recorded, and how many calls were refused, or of unknown outcome."""
    kinds = Counter(record.kind for record in records)
    refused = sum(record.outcome == "Stale" for record in records)
    unknown = sum(record.outcome in UNKNOWN for record in records)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{counts}; {refused} refused as stale, {unknown} of unknown outcome"
