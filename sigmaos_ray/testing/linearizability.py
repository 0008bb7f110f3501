"""Is a history linearizable? That is: could the operations have taken effect one at a time, each at some moment between
its call and its return, and told what they told? Pure.

After Wing and Gong: whatever has been called may come next if nothing else returned before; dead ends are remembered,
after Lowe, by what was done and the state it led to. Objects that do not share state are looked at one by one.

An operation with an unknown outcome may come at any time after its call, or never. Of two ways to do the same known
operations with the same end, the one that used fewer unknown ones can do all that the other can: that one is taken. Of
unknown ones that mean the same, the one that was called first can do all that the others can.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from sigmaos_ray.testing.history import Operation, Result

STEPS_MAX: Final = 2_000_000
"""Per object; a step takes some microseconds."""


class Model(Protocol):
    """What one object does when nobody disturbs it."""

    @property
    def initial(self) -> Hashable:
        """The state before the first operation."""

    @property
    def looks(self) -> frozenset[str]:
        """The operations that never change the state."""

    def apply(self, state: Any, operation: Operation) -> tuple[Hashable, Result]:
        """The state after an operation, and what it returns. Pure; ignores what the operation returned."""

    def simplified(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """The operations on one object, one for one, with arguments that nobody can tell apart made the same: fewer
        states to look at."""


class Verdict(enum.Enum):
    """Whether a history could have happened one operation at a time."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "NOT linearizable"
    UNDECIDED = "undecided: the bound of steps was reached"


class HistoryReport(NamedTuple):
    """The outcome, with the smallest object that is to blame and why."""

    verdict: Verdict
    key: str = ""
    story: str = ""

    @property
    def is_ok(self) -> bool:
        return self.verdict is Verdict.LINEARIZABLE

    def __str__(self) -> str:
        return f"{self.verdict.value}{': ' if self.key else ''}{self.key}\n{self.story}".rstrip()


def check(history: Iterable[Operation], model: Model, steps_max: int = STEPS_MAX) -> HistoryReport:
    """Looks at each object of a history by itself, the shortest first. The worst verdict counts: one object that is not
    linearizable makes the history not linearizable, whatever is undecided elsewhere. ``steps_max``: per object; past it
    that one is undecided."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    undecided = ""
    for key in sorted(by_key, key=lambda key: len(by_key[key])):
        verdict = _Search(by_key[key], model, steps_max).run()
        if verdict is Verdict.NOT_LINEARIZABLE:
            return HistoryReport(verdict, key, _story(_smallest(by_key[key], model, steps_max), model, steps_max))
        if verdict is Verdict.UNDECIDED:
            undecided = key
    if undecided:
        return HistoryReport(Verdict.UNDECIDED, undecided, f"{len(by_key[undecided])} operations")
    return HistoryReport(Verdict.LINEARIZABLE)


class _Node(NamedTuple):
    """What was done so far, and where that led."""

    first: int
    """All known operations before this one, in the order of their calls, are done."""
    ahead: int
    """Which of those from ``first`` on are done, as bits."""
    unknown: int
    """Which unknown ones are done, as bits."""
    state: Any

    @property
    def done_count(self) -> int:
        return self.first + self.ahead.bit_count()


class _Search:
    """One object's operations. Whatever got furthest goes on first; of those, what used the fewest unknown ones."""

    def __init__(self, operations: Sequence[Operation], model: Model, steps_max: int) -> None:
        pairs = sorted(zip(operations, model.simplified(operations), strict=True), key=lambda pair: pair[0].called_s)
        self._known = [pair for pair in pairs if pair[0].is_known]
        self._unknown = [pair for pair in pairs if not pair[0].is_known and pair[0].name not in model.looks]
        self._same_before = _same_before([simple for _, simple in self._unknown])
        self._model = model
        self._steps_max = steps_max
        self._seen: dict[tuple[int, int, Any], list[int]] = {}
        self._ways: list[tuple[Operation | None, int]] = []
        """Per node, in the order in which they were found: the operation that led there, and the node before it."""
        self.deepest = 0
        self.deepest_state: Any = model.initial

    def run(self) -> Verdict:
        """Searches until all known operations are done, or nothing more can come next. Called once."""
        root = _Node(0, 0, 0, self._model.initial)
        heap: list[tuple[int, int, int, _Node]] = [(0, 0, 0, root)]
        self._ways.append((None, 0))
        most = steps = 0
        while heap:
            _, _, number, node = heapq.heappop(heap)
            if node.first == len(self._known):
                return Verdict.LINEARIZABLE
            if node.done_count > most:
                most, self.deepest, self.deepest_state = node.done_count, number, node.state
            for operation, after in self._next(node):
                if (steps := steps + 1) > self._steps_max:
                    return Verdict.UNDECIDED
                if self._is_new(after):
                    heapq.heappush(heap, (-after.done_count, after.unknown.bit_count(), len(self._ways), after))
                    self._ways.append((operation, number))
        return Verdict.NOT_LINEARIZABLE

    def order(self) -> list[Operation]:
        """The longest order that was found to be possible. After ``run``."""
        backwards: list[Operation] = []
        operation, before = self._ways[self.deepest]
        while operation is not None:
            backwards.append(operation)
            operation, before = self._ways[before]
        return backwards[::-1]

    def _is_new(self, node: _Node) -> bool:
        """False if the same was reached with some of the same unknown operations, or with none."""
        ways = self._seen.setdefault((node.first, node.ahead, node.state), [])
        if any(not way & ~node.unknown for way in ways):
            return False
        ways.append(node.unknown)
        return True

    def _next(self, node: _Node) -> Iterator[tuple[Operation, _Node]]:
        """What may come next, known operations first. An operation may if it was called before any other one that is
        not done yet has returned: ``limit_s`` is the first such return."""
        limit_s = math.inf
        for index in range(node.first, len(self._known)):
            bit = 1 << (index - node.first)
            if node.ahead & bit:
                continue
            operation, simple = self._known[index]
            if operation.called_s > limit_s:
                break
            limit_s = min(limit_s, operation.returned_s)
            state, result = self._model.apply(node.state, simple)
            if result == operation.result:
                yield operation, _advanced(node.first, node.ahead | bit, node.unknown, state)
        for number, (operation, simple) in enumerate(self._unknown):
            if operation.called_s > limit_s:
                break
            if node.unknown >> number & 1 or self._same_before[number] & ~node.unknown:
                continue
            state, _ = self._model.apply(node.state, simple)
            if state != node.state:
                yield operation, node._replace(unknown=node.unknown | 1 << number, state=state)


def _same_before(unknown: Sequence[Operation]) -> list[int]:
    """For each, as a bit: the last one before it that means the same."""
    last: dict[tuple[str, Any], int] = {}
    bits = []
    for number, simple in enumerate(unknown):
        meaning = (simple.name, simple.argument)
        bits.append(last.get(meaning, 0))
        last[meaning] = 1 << number
    return bits


def _advanced(first: int, ahead: int, unknown: int, state: Any) -> _Node:
    """A node in its shortest form, so that the same one is recognized: ``first`` is moved over what is done."""
    while ahead & 1:
        first, ahead = first + 1, ahead >> 1
    return _Node(first, ahead, unknown, state)


# -- telling why


def _smallest(operations: Sequence[Operation], model: Model, steps_max: int) -> list[Operation]:
    """The part of a history that is to blame: up to the first answer that cannot be, without the looks that do not
    matter. (Without a change, what remains could be wrong for want of it: changes all stay.)"""
    ends = sorted(operation.returned_s for operation in operations if operation.is_known)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _is_wrong(_until(operations, ends[middle]), model, steps_max):
            high = middle
        else:
            low = middle + 1
    smallest = _until(operations, ends[low])
    looks = [operation for operation in smallest if operation.name in model.looks]
    # Large chunks first, then halves of them: most looks do not matter, and go at a stroke.
    size = len(looks)
    while size and looks:
        for chunk in [looks[start : start + size] for start in range(0, len(looks), size)]:
            chunk_ids = {id(operation) for operation in chunk}
            fewer = [operation for operation in smallest if id(operation) not in chunk_ids]
            if _is_wrong(fewer, model, steps_max):
                smallest = fewer
        smallest_ids = {id(operation) for operation in smallest}
        looks = [operation for operation in looks if id(operation) in smallest_ids]
        size //= 2
    return smallest


def _is_wrong(operations: Sequence[Operation], model: Model, steps_max: int) -> bool:
    return _Search(operations, model, steps_max).run() is Verdict.NOT_LINEARIZABLE


def _until(operations: Sequence[Operation], end_s: float) -> list[Operation]:
    """The history as it was known at a moment: what had not returned by then has an unknown outcome."""
    return [
        each if each.returned_s <= end_s else msgspec.structs.replace(each, returned_s=math.inf, result=None)
        for each in operations
        if each.called_s <= end_s
    ]


def _story(operations: Sequence[Operation], model: Model, steps_max: int) -> str:
    """What happened when, how far an order was possible, and what fits nowhere behind it: for people."""
    search = _Search(operations, model, steps_max)
    search.run()
    order = search.order()
    ordered = sorted(operations, key=lambda operation: operation.called_s)
    start_s = ordered[0].called_s
    ids_in_order = {id(operation) for operation in order}
    unfitting = [operation for operation in ordered if id(operation) not in ids_in_order]
    return "\n".join(
        [
            "  called .. returned (ms)",
            *(f"  {_span(operation, start_s)}  {operation}" for operation in ordered),
            "possible at most, in this order:",
            *(f"  {operation}" for operation in order),
            f"then the state is {search.deepest_state!r}, and none of these fits:",
            *(f"  {operation}" for operation in unfitting if operation.is_known),
        ]
    )


def _span(operation: Operation, start_s: float) -> str:
    returned = f"{(operation.returned_s - start_s) * 1000:9.2f}" if operation.is_known else "        ?"
    return f"{(operation.called_s - start_s) * 1000:9.2f} .. {returned}"
