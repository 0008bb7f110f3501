"""What a store can be tuned by: each value with its unit and its reason. Durations are in seconds, sizes in bytes.

They may change from one version to the next. What journals depend on may not: that is in ``keys``.
"""

from __future__ import annotations

from typing import Final

import msgspec


class ClerkTuning(msgspec.Struct, frozen=True):
    """Of clerks: how long they wait, and how much they send at once."""

    timeout_s: float = 60.0
    """How long a call is repeated: longer than a server takes to be replaced, be its lease lost and its journal
    long."""
    attempt_s: float = 5.0
    """How long one server may take for one try; a change is written in milliseconds."""
    first_pause_s: float = 0.002
    """Before a shard that moves is asked for again. It doubles each time, up to ..."""
    pause_s_max: float = 0.1
    """... so long: a move takes some milliseconds, a new leader some seconds."""
    request_bytes: int = 1 << 20
    """Keys and values of one request of writes, about; the rest goes with the next one."""
    keys_at_once_max: int = 1000
    """A blocking call for more keys goes over the loop, which cuts requests and asks on while replies come."""


class ServerTuning(msgspec.Struct, frozen=True):
    """Of servers of shards."""

    reply_bytes: int = 1 << 20
    """A reply has no more values once it has so many bytes; one value may be as large again."""
    client_age_s: float = 600.0
    """For at least so long a server knows how a silent client's last writes fared: much longer than a call is repeated
    (``ClerkTuning.timeout_s``)."""
    part_bytes: int = 512 << 10
    """A part of a shard that moves is complete once it has so many: with one more value it still fits into a
    message."""
    client_bytes: int = 32
    """What the record of a client counts in a part, about, without the outcomes of its writes."""


class JournalTuning(msgspec.Struct, frozen=True):
    """Of what a server writes."""

    frame_bytes: int = 1 << 20
    """Changes that are written at once, about; one change may have more."""
    log_bytes_min: int = 16 << 20
    """A snapshot is made only of more, which a new server reads in a second or so, and ..."""
    growth: int = 3
    """... of so many times what the last one had: all snapshots together cost no more than the changes did."""


class CopiesTuning(msgspec.Struct, frozen=True):
    """Of the copies of what a group writes."""

    pause_s: float = 0.5
    """Between two tries to reach a copy, or named."""
    look_s: float = 1.0
    """How often a leader that has too few copies looks for a node for another one."""
    answer_s: float = 3.0
    """A copy that says nothing for so long, while another one has answered, is lost: writes wait for it no longer. A
    node that is cut off says nothing, and its connection is given up much later."""
    announce_tries_max: int = 20
    """So often a leader tries to write which copies are in step, and then ends: ten seconds outlast a fail-over of
    named."""


class BalancerTuning(msgspec.Struct, frozen=True):
    """Of balancers, and of whoever asks one."""

    balancers_count: int = 3
    """One leads; another one starts the third again while it takes over."""
    mcpu: float = 10
    """What a balancer or a mover reserves. Hardly anything: they wait."""
    server_mcpu: float = 100
    """What a server reserves, unless the store was started with something else."""
    write_tries_max: int = 10
    """So often a configuration is written, before the balancer ends: five seconds outlast a fail-over of named."""
    pause_s: float = 0.5
    """Between two tries of anything that failed."""
    server_pause_s: float = 0.05
    """The same, while a new server is waited for: a store is to start in a second."""
    server_start_s: float = 60.0
    """How long a new server may take until it serves: Ray may have to start a worker, and a journal to be read."""
    stats_s: float = 5.0
    """How long a server may take to tell how it is."""
    end_s: float = 10.0
    """How long a proc of the store may take to end once it was evicted; then it is killed."""
    absent_s: float = 120.0
    """How long a request waits for a balancer that leads: two elections, and the start of a worker."""
    absent_pause_s: float = 0.1
    """Between two tries to reach one."""


class MoverTuning(msgspec.Struct, frozen=True):
    """Of movers."""

    pause_s: float = 0.1
    """Between two tries of one step."""
    absent_s: float = 60.0
    """A server that is away for so long fails the mover; the balancer starts another one."""


class MonitorTuning(msgspec.Struct, frozen=True):
    """Of the growing and shrinking by load (KV-10)."""

    interval_s: float = 1.0
    """Between two looks at the servers' load."""
    looks_min: int = 3
    """So many times in a row the same must follow from the load before it is done: starting a server costs."""
    busy_min: float = 0.85
    """One more group is added while the servers use at least so much of a core, on average, ..."""
    idle_max: float = 0.4
    """... and one is removed below so much. Far enough apart that one step does not bring about the other."""


CLERK: Final = ClerkTuning()
SERVER: Final = ServerTuning()
JOURNAL: Final = JournalTuning()
COPIES: Final = CopiesTuning()
BALANCER: Final = BalancerTuning()
MOVER: Final = MoverTuning()
MONITOR: Final = MonitorTuning()
