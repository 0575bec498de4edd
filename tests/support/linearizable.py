"""Whether what clients saw of one key can have happened in one order.

A key holds a value or nothing (None); every write has a value of its own. What a client did is an
`Operation`: when it was asked and answered, and what of it is known. The search is Wing and Gong's,
with Lowe's memory of the places where it was before.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

NOBODY_KNOWS = math.inf
"""When an operation ended that was never answered: a write may happen at any later time."""

_UNSEEN = "(never seen)"
_MOST = 300_000  # places that a search may come by: some seconds


@dataclass(frozen=True, slots=True)
class Operation:
    """`read` saw `value`; `write` put it there (None: removed it); `swap` put it where `expected`
    was; `refused` was a swap that found something else than `expected`."""

    kind: Literal["read", "write", "swap", "refused"]
    began: float
    ended: float
    value: str | None = None
    expected: str | None = None

    def follows(self, state: str | None) -> tuple[bool, str | None]:
        """Whether it can happen when the key holds `state`, and what it holds then."""
        match self.kind:
            case "read":
                return state == self.value, state
            case "write":
                return True, self.value
            case "swap":
                return state == self.expected, self.value
            case "refused":
                return state != self.expected, state


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether there is an order in which all that was answered happened between its question and
    its answer, from nothing on."""
    seen = {o.value for o in operations if o.kind == "read"}
    seen |= {o.expected for o in operations}
    known = [o for o in operations if o.ended < NOBODY_KNOWS or o.value in seen]
    # What was never answered need not have happened: most of it nobody saw. Then it can only be why
    # another one was refused, for which any value does that nobody saw.
    return _search(known) or (
        len(known) < len(operations)
        and _search([o if o.value in seen else replace(o, value=_UNSEEN) for o in operations])
    )


def contradiction(operations: Sequence[Operation], most: int = 40) -> str:
    """The last of the operations until the first answer with which there is no order, in words."""
    ends = sorted(o.ended for o in operations if o.ended < NOBODY_KNOWS)
    first = bisect_left(ends, True, key=lambda end: not is_linearizable(_until(operations, end)))
    seen = _until(operations, ends[min(first, len(ends) - 1)])
    began = seen[0].began if seen else 0.0
    return "\n".join(
        f"{o.began - began:9.4f} to {o.ended - began:9.4f}: {o.kind} {o.value!r}"
        + (f", expected {o.expected!r}" if o.kind in ("swap", "refused") else "")
        for o in seen[-most:]
    )


def _until(operations: Sequence[Operation], end: float) -> list[Operation]:
    """What was known at that moment: some were not answered as yet."""
    begun = sorted((o for o in operations if o.began <= end), key=lambda o: o.began)
    return [
        o if o.ended <= end else replace(o, ended=NOBODY_KNOWS)
        for o in begun
        if o.ended <= end or o.kind in ("write", "swap")
    ]


def _search(operations: Sequence[Operation]) -> bool:
    ordered = sorted(operations, key=lambda o: o.began)
    answered = sum(1 << at for at, o in enumerate(ordered) if o.ended < NOBODY_KNOWS)
    places: list[tuple[int, str | None]] = [(0, None)]
    been = set(places)
    while places:
        assert len(been) < _MOST, "no order was found, and too much is unsure to exclude one"
        done, state = places.pop()
        if done & answered == answered:
            return True
        for at, then in _steps(ordered, done, state):
            place = done | 1 << at, then
            if place not in been:
                been.add(place)
                places.append(place)
    return False


def _steps(
    ordered: Sequence[Operation], done: int, state: str | None
) -> list[tuple[int, str | None]]:
    """What may happen next, and what the key holds then; the likeliest last."""
    steps: list[tuple[int, str | None]] = []
    unlikely: list[tuple[int, str | None]] = []
    unsure: set[str | None] = set()
    for at in _next(ordered, done):
        operation = ordered[at]
        possible, then = operation.follows(state)
        if not possible:
            continue
        if operation.ended == NOBODY_KNOWS:
            # It need not happen, so not where it changes nothing. Of those that do the same, the
            # first to begin can stand for the others.
            if then != state and then not in unsure:
                unsure.add(then)
                unlikely.append((at, then))
        elif operation.kind in ("read", "refused"):
            return [(at, then)]  # it changes nothing, so it may as well be now
        else:
            steps.append((at, then))
    return unlikely + steps  # the last is tried first


def _next(ordered: Sequence[Operation], done: int) -> list[int]:
    """Those that began before any other that is left had ended."""
    found: list[int] = []
    first_end = NOBODY_KNOWS
    first = (~done & (done + 1)).bit_length() - 1  # the first that is left
    for at in range(first, len(ordered)):
        if done >> at & 1:
            continue
        operation = ordered[at]
        if operation.began > first_end:
            break
        found.append(at)
        first_end = min(first_end, operation.ended)
    return [at for at in found if ordered[at].began <= first_end]
