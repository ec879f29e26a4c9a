"""Line states and order statuses, as data.

A line's `State` says where its open units stand, the most advanced of them; once none are open, how it ended. How much
stands where is in the quantities. A fact may imply stages nobody reported (what ships was picked): the line then passes
through them, and each step is one that `NEXT` allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import cache

from schemas.frozen import Frozen


class State(StrEnum):
    """Where an order line's open units stand, or how it ended."""

    RECEIVED = "received"  # not answered yet
    CHECKED = "checked"  # taken, but nothing covers it yet
    ALLOCATED = "allocated"
    BACKORDERED = "backordered"
    RELEASED = "released"  # on the warehouse floor
    PICKED = "picked"  # a part is picked
    STAGED = "staged"  # all of it is picked, some of it not shipped
    SUBSTITUTED = "substituted"  # staged, some of it as another item
    SHIPPED = "shipped"  # all of it
    DELIVERED = "delivered"
    SHORT = "short"  # closed: the units were not found and the order takes no backorder
    CANCELLED = "cancelled"
    RETURNED = "returned"  # all that shipped came back
    REFUSED = "refused"


_S = State
NEXT: dict[State, frozenset[State]] = {
    _S.RECEIVED: frozenset({_S.CHECKED, _S.REFUSED, _S.CANCELLED}),
    _S.CHECKED: frozenset({_S.ALLOCATED, _S.BACKORDERED, _S.REFUSED, _S.CANCELLED, _S.SHORT, _S.RECEIVED}),
    _S.ALLOCATED: frozenset({_S.RELEASED, _S.BACKORDERED, _S.CHECKED, _S.CANCELLED}),
    _S.BACKORDERED: frozenset({_S.ALLOCATED, _S.CHECKED, _S.CANCELLED, _S.REFUSED}),
    _S.RELEASED: frozenset({_S.PICKED, _S.SHORT, _S.ALLOCATED, _S.BACKORDERED, _S.CANCELLED}),
    _S.PICKED: frozenset({_S.STAGED, _S.SUBSTITUTED}),
    _S.STAGED: frozenset({_S.SHIPPED, _S.SUBSTITUTED, _S.PICKED}),
    _S.SUBSTITUTED: frozenset({_S.SHIPPED, _S.PICKED}),
    _S.SHIPPED: frozenset({_S.DELIVERED, _S.RETURNED, _S.CHECKED}),  # checked: more is wanted, or the rest goes on
    _S.DELIVERED: frozenset({_S.RETURNED, _S.CHECKED}),
    _S.SHORT: frozenset({_S.BACKORDERED, _S.CANCELLED, _S.CHECKED}),
    _S.CANCELLED: frozenset({_S.RECEIVED}),  # reinstated by the ERP
    _S.RETURNED: frozenset({_S.SHIPPED}),  # more of it was shipped
    _S.REFUSED: frozenset({_S.RECEIVED, _S.CANCELLED}),  # asked anew
}


@cache
def path(start: State, end: State) -> tuple[State, ...] | None:
    """The shortest way from one state to another along `NEXT`, both ends included; none if there is none."""
    ways: list[tuple[State, ...]] = [(start,)]
    visited = {start}
    for way in ways:
        if way[-1] is end:
            return way
        for state in sorted(NEXT[way[-1]] - visited):
            visited.add(state)
            ways.append((*way, state))
    return None


class LineProgress(Frozen, frozen=True):
    """What a line's state is derived from. `wanted_milli`: ordered less cancelled; `picked_milli` includes shipped units."""

    wanted_milli: int
    allocated_milli: int
    backordered_milli: int
    released_milli: int
    picked_milli: int
    shipped_milli: int
    short_milli: int
    substituted_milli: int
    returned_milli: int
    is_answered: bool
    is_cancelled: bool
    is_refused: bool


StateRule = tuple[State, Callable[[LineProgress], bool]]
STATES: tuple[StateRule, ...] = (
    (_S.RETURNED, lambda s: s.shipped_milli >= s.wanted_milli and 0 < s.shipped_milli <= s.returned_milli),
    (_S.SHIPPED, lambda s: s.shipped_milli >= s.wanted_milli and s.shipped_milli > 0 and s.picked_milli <= s.shipped_milli),
    (_S.SUBSTITUTED, lambda s: s.picked_milli > s.shipped_milli and s.picked_milli >= s.wanted_milli and s.substituted_milli > 0),
    (_S.STAGED, lambda s: s.picked_milli > s.shipped_milli and s.picked_milli >= s.wanted_milli),
    (_S.PICKED, lambda s: s.picked_milli > s.shipped_milli),
    (_S.SHORT, lambda s: s.wanted_milli == 0 and s.short_milli > 0 and not s.is_cancelled),
    (_S.CANCELLED, lambda s: s.wanted_milli == 0),
    (_S.REFUSED, lambda s: s.is_refused),
    (_S.RELEASED, lambda s: s.allocated_milli > 0 and s.released_milli > s.picked_milli + s.short_milli),
    (_S.ALLOCATED, lambda s: s.allocated_milli > 0),
    (_S.BACKORDERED, lambda s: s.backordered_milli > 0),
    (_S.CHECKED, lambda s: s.is_answered),
    (_S.RECEIVED, lambda s: True),
)
"""A line's state is the first whose condition holds. `DELIVERED` waits for carriers' events."""


def state_of(standing: LineProgress) -> State:
    """The state of a line whose quantities stand so."""
    return next(state for state, holds in STATES if holds(standing))


class LineTally(Frozen, frozen=True):
    """What an order's status needs of one line."""

    state: State
    wanted_milli: int
    allocated_milli: int
    picked_milli: int
    shipped_milli: int
    invoiced_milli: int


_CLOSED = frozenset({_S.CANCELLED, _S.SHORT, _S.REFUSED})
_DONE = frozenset({_S.SHIPPED, _S.DELIVERED, _S.RETURNED})

Tallies = Sequence[LineTally]


def _live(lines: Tallies) -> list[LineTally]:
    return [x for x in lines if x.state not in _CLOSED]


def _is_done(lines: Tallies) -> bool:
    return all(x.state in _DONE for x in _live(lines))


STATUSES: tuple[tuple[str, Callable[[Tallies], bool]], ...] = (
    ("received", lambda ls: not ls),
    ("refused", lambda ls: all(x.state is _S.REFUSED for x in ls)),
    ("cancelled", lambda ls: all(x.state in _CLOSED for x in ls)),
    ("returned", lambda ls: all(x.state is _S.RETURNED or x.state in _CLOSED for x in ls)),
    ("invoiced", lambda ls: _is_done(ls) and all(x.invoiced_milli >= x.shipped_milli for x in ls)),
    ("shipped", _is_done),
    ("partly_shipped", lambda ls: any(x.shipped_milli > 0 for x in ls)),
    ("staged", lambda ls: all(x.picked_milli >= x.wanted_milli for x in _live(ls))),
    ("picking", lambda ls: any(x.picked_milli > 0 for x in ls)),
    ("released", lambda ls: any(x.state is _S.RELEASED for x in ls)),
    ("allocated", lambda ls: all(x.allocated_milli >= x.wanted_milli for x in _live(ls))),
    ("partly_allocated", lambda ls: any(x.allocated_milli > 0 for x in ls)),
    ("backordered", lambda ls: any(x.state is _S.BACKORDERED for x in ls)),
    ("open", lambda ls: all(x.state is not _S.RECEIVED for x in ls)),
    ("received", lambda ls: True),
)
"""An order's status is the first whose condition holds for its lines. While it is on hold it is `held`, unless it has ended."""

ENDED = frozenset({"refused", "cancelled", "returned", "invoiced", "shipped"})


def status_of(lines: Tallies, *, is_held: bool, is_cancelled: bool) -> str:
    """The status of an order with these lines. One without any line yet is what its header says."""
    if not lines and is_cancelled:
        return "cancelled"
    status = next(name for name, holds in STATUSES if holds(lines))
    return "held" if is_held and status not in ENDED else status
