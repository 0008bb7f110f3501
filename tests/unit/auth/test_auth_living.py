"""The table of tokens that have not ended, as its schedd and servers of its machine have it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.auth.living import LiveReader, LiveTable
from sigmaos_ray.auth.tokens import TokenSlot, mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def table(tmp_path: Path) -> Iterator[LiveTable]:
    made = LiveTable(tmp_path)
    yield made
    made.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[LiveReader]:
    made = LiveReader(tmp_path)
    yield made
    made.close()


def at(table: LiveTable, slot: int) -> TokenSlot:
    return TokenSlot("m", table.name, slot, "")


def test_a_token_lives_until_it_is_ended(table: LiveTable, reader: LiveReader) -> None:
    slot = table.take()
    assert not reader.lives(at(table, slot), mark_of("token"))
    table.lives(slot, "token")
    assert reader.lives(at(table, slot), mark_of("token"))
    assert table.holds(slot, mark_of("token"))
    assert not reader.lives(at(table, slot), mark_of("other"))
    table.ended(slot)
    assert not reader.lives(at(table, slot), mark_of("token"))
    assert not table.holds(slot, mark_of("token"))


def test_a_table_grows_and_readers_see_it(table: LiveTable, reader: LiveReader) -> None:
    slots = [table.take() for _ in range(10_000)]
    assert len(set(slots)) == 10_000
    table.lives(slots[0], "first")
    assert reader.lives(at(table, slots[0]), mark_of("first"))
    more = [table.take() for _ in range(10_000)]
    table.lives(more[-1], "last")
    assert reader.lives(at(table, more[-1]), mark_of("last"))
    assert reader.lives(at(table, slots[0]), mark_of("first"))


def test_freed_slots_are_used_again(table: LiveTable) -> None:
    for number in range(10_000):
        slot = table.take()
        table.lives(slot, str(number))
        table.ended(slot)
    assert slot < 4096


@pytest.mark.parametrize("name", ["", "..", "../x", "x/y", "nowhere", "\0"])
def test_what_is_no_table_holds_nothing(reader: LiveReader, name: str) -> None:
    assert not reader.lives(TokenSlot("m", name, 0, ""), bytes(16))


def test_slots_that_are_none_hold_nothing(table: LiveTable, reader: LiveReader) -> None:
    for slot in (-1, 1 << 40):
        assert not reader.lives(at(table, slot), bytes(16))
        assert not table.holds(slot, bytes(16))


def test_a_closed_table_holds_nothing(tmp_path: Path, reader: LiveReader) -> None:
    table = LiveTable(tmp_path)
    slot = table.take()
    table.lives(slot, "token")
    assert reader.lives(at(table, slot), mark_of("token"))
    table.close()
    assert not reader.lives(at(table, slot), mark_of("token"))
    assert not list(tmp_path.iterdir())


_KILLED = """
import sys
from pathlib import Path
from sigmaos_ray.auth.living import LiveTable
table = LiveTable(Path(sys.argv[1]))
table.lives(table.take(), "token")
print(table.name, flush=True)
input()
"""


def test_nothing_lives_of_a_schedd_that_was_killed(tmp_path: Path, reader: LiveReader) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        place = TokenSlot("m", name, 0, "")
        assert reader.lives(place, mark_of("token"))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert not reader.lives(place, mark_of("token"))
    LiveTable(tmp_path).close()
    assert not list(tmp_path.iterdir()), "the next one clears up"
