"""What groups of procs, their leaders and their tasks can be tuned by. Durations are in seconds."""

from __future__ import annotations

from typing import Final

import msgspec


class GroupTuning(msgspec.Struct, frozen=True):
    """How a group starts its members again."""

    first_pause_s: float = 0.2
    """Before a member that failed to live is started again. It doubles each time, up to ..."""
    pause_s_max: float = 5.0
    """... so long."""
    lived_s: float = 10.0
    """A member that ran for so long has not failed to live: the next one may come at once."""


class LeadingTuning(msgspec.Struct, frozen=True):
    """How candidates look after a leader."""

    look_s: float = 1.0
    """How often a candidate looks whether the leader's process is there: well within a lease, and no load for named."""


class TaskClntTuning(msgspec.Struct, frozen=True):
    """How clients of a task server wait for it."""

    absent_s: float = 30.0
    """How long a call waits for a server: longer than the election of a new one takes, and the start of a worker."""
    pause_s: float = 0.1
    """Between two tries of one call."""
    acquire_s: float = 20.0
    """A waiting acquisition is asked for so long, and then again: so a server that stopped is found out."""


GROUP: Final = GroupTuning()
LEADING: Final = LeadingTuning()
TASK_CLNT: Final = TaskClntTuning()
