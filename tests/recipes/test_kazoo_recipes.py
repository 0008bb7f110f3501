"""Kazoo's recipes as an outside witness: its own tests of locks, semaphores, elections, queues, barriers, counters and
parties, run on our namespace. Both the recipes and their tests are as kazoo ships them; only the client is ours."""

from __future__ import annotations

import kazoo_harness  # noqa: F401  # what kazoo's tests import is ours from here on
from kazoo.tests import test_barrier, test_counter, test_election, test_lock, test_party, test_queue


class TestLock(test_lock.KazooLockTests):
    """The lock of ``create(ephemeral, sequence)``, predecessors watched."""


class TestSemaphore(test_lock.TestSemaphore):
    """A pool of places behind a lock."""


class TestElection(test_election.KazooElectionTests):
    """One at a time leads."""


class TestQueue(test_queue.KazooQueueTests):
    """Entries by priority and number."""


class TestLockingQueue(test_queue.KazooLockingQueueTests):
    """Entries that are taken under a lease, and put and consumed in transactions."""


class TestBarrier(test_barrier.KazooBarrierTests):
    """Those who wait for a name to go."""


class TestDoubleBarrier(test_barrier.KazooDoubleBarrierTests):
    """Those who enter and leave together."""


class TestCounter(test_counter.KazooCounterTests):
    """Compare and set by version."""


class TestParty(test_party.KazooPartyTests):
    """Who is there."""


class TestShallowParty(test_party.KazooShallowPartyTests):
    """The same, by names alone."""
