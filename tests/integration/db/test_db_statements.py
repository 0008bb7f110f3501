"""SQL over RPC (B-5): rows and their types, transactions, and errors that say what was wrong."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.db.store import DbStore
    from sigmaos_ray.dbclnt import AsyncDbClnt

BLOB = bytes(range(256))


async def test_rows_come_and_go(db: AsyncDbClnt, table: str) -> None:
    for name, words in (("Moby Dick", 209_117), ("Emma", 160_996), ("it's : quoted", 1)):
        assert await db.execute(f"INSERT INTO {table} VALUES (:name, :words)", name=name, words=words) == 1
    rows = await db.query(f"SELECT * FROM {table} WHERE words > :least ORDER BY words", least=1)
    assert rows == [{"name": "Emma", "words": 160_996}, {"name": "Moby Dick", "words": 209_117}]
    assert await db.execute(f"UPDATE {table} SET words = words + 1 WHERE words > 1") == 2
    assert await db.execute(f"DELETE FROM {table}") == 3
    assert await db.query(f"SELECT * FROM {table}") == []


async def test_types(db: AsyncDbClnt, table: str) -> None:
    values = {"i": 2**63 - 1, "n": -5, "f": 0.5, "t": "naïve ☃", "b": BLOB, "z": None}
    [row] = await db.query("SELECT :i AS i, :n AS n, :f AS f, :t AS t, :b AS b, :z AS z", **values)
    assert row == values
    assert [type(value) for value in row.values()] == [int, int, float, str, bytes, type(None)]
    [row] = await db.query("SELECT CAST('2026-01-02' AS CHAR) AS day, 'a\\:b' AS colon")
    assert row == {"day": "2026-01-02", "colon": "a:b"}
    with pytest.raises(serr.Inval, match="set"):
        await db.query("SELECT :s AS s", s={1})


async def test_a_transaction_is_all_or_nothing(db: AsyncDbClnt, table: str) -> None:
    insert = f"INSERT INTO {table} VALUES (:name, :words)"
    counts = await db.transact(
        [(insert, {"name": "a", "words": 1}), (insert, {"name": "b", "words": 2}), f"UPDATE {table} SET words = 7"]
    )
    assert counts == [1, 1, 2]
    with pytest.raises(serr.Exists, match="INSERT INTO"):
        await db.transact([f"DELETE FROM {table} WHERE name = 'b'", (insert, {"name": "a", "words": 3})])
    assert len(await db.query(f"SELECT * FROM {table} WHERE words = 7")) == 2
    with pytest.raises(serr.Inval):
        await db.transact([])


async def test_transactions_side_by_side(db: AsyncDbClnt, table: str) -> None:
    """None is lost: who is in another one's way waits, or is told to try again."""
    await db.execute(f"INSERT INTO {table} VALUES ('counter', 0)")

    async def count_up() -> None:
        while True:
            try:
                await db.execute(f"UPDATE {table} SET words = words + 1")
                return
            except serr.Retry:
                continue

    await asyncio.gather(*(count_up() for _ in range(40)))
    assert await db.query(f"SELECT words FROM {table}") == [{"words": 40}]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELEC 1", serr.Inval),
        ("", serr.Inval),
        ("SELECT * FROM no_such_table", serr.Inval),
        ("INSERT INTO {table} VALUES ('a')", serr.Inval),
        ("INSERT INTO {table} VALUES ('new', NULL)", serr.Inval),
        ("SELECT :missing", serr.Inval),
        ("SELECT 1; SELECT 2", serr.Inval),
        ("INSERT INTO {table} VALUES ('a', 2)", serr.Exists),
    ],
)
async def test_what_is_wrong(db: AsyncDbClnt, table: str, statement: str, kind: type[serr.SigmaError]) -> None:
    await db.execute(f"INSERT INTO {table} VALUES ('a', 1)")
    for call in (db.execute, db.query):
        with pytest.raises(kind) as raised:
            await call(statement.format(table=table))
        assert type(raised.value) is kind
        assert raised.value.msg
    assert await db.query(f"SELECT * FROM {table}") == [{"name": "a", "words": 1}]


async def test_a_statement_without_rows(db: AsyncDbClnt, table: str) -> None:
    with pytest.raises(serr.Inval, match="Exec"):
        await db.query(f"INSERT INTO {table} VALUES ('a', 1)")
    assert await db.query(f"SELECT * FROM {table}") == []


async def test_rows_larger_than_a_message(db: AsyncDbClnt, table: str) -> None:
    for number in range(8):
        await db.execute(f"INSERT INTO {table} VALUES (:name, {number})", name=f"{number}" * 100)
    large = " CROSS JOIN ".join(f"{table} AS t{number}" for number in range(5))
    rows = await db.query(f"SELECT t0.name AS name FROM {large}")
    assert len(rows) == 8**5
    with pytest.raises(serr.Inval, match="LIMIT"):
        await db.query(f"SELECT t0.name, t1.name AS n1, t2.name AS n2 FROM {large} CROSS JOIN {table} AS t5")


async def test_a_statement_that_takes_too_long(db: AsyncDbClnt, table: str, store: DbStore) -> None:
    """The database itself gives up: its connection is free again."""
    for number in range(30):
        await db.execute(f"INSERT INTO {table} VALUES (:name, 1)", name=f"{number}")
    large = " CROSS JOIN ".join(f"{table} AS t{number}" for number in range(9))
    began_s = time.monotonic()
    for _ in range(3):
        with pytest.raises(serr.Timeout):
            await db.query(f"SELECT COUNT(*) AS n FROM {large} WHERE t0.words + t8.words > 5", 0.3)
    assert await db.query("SELECT 1 AS one", 20) == [{"one": 1}]
    ends_s = time.monotonic() + 10
    while store.busy_count:
        assert time.monotonic() < ends_s
        await asyncio.sleep(0.01)
    assert time.monotonic() - began_s < 20
