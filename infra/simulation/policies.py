"""The six ATP policies, from their definitions, day by day and without any cleverness.

Index 0 is today; `supply[d]` and `demand[d]` are quantities of day d; `usable[d]` is what is on hand and usable on day d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

Numbers = Sequence[Decimal]


def projected(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """What would be on hand at the end of each day if nothing else were promised."""
    return [usable[d] - safety + sum(supply[: d + 1], Decimal(0)) - sum(demand[: d + 1], Decimal(0)) for d in range(len(usable))]


def lookahead(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """What can be promised on a day without breaking that day or any later one."""
    level = projected(usable, safety, supply, demand)
    return [min(level[d:]) for d in range(len(level))]


def backward(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """Per period: a shortage eats the nearest earlier surplus, then the next earlier; what stays uncovered stays negative."""
    left = [supply[d] - demand[d] + (usable[0] - safety if d == 0 else usable[d] - usable[d - 1]) for d in range(len(usable))]
    for day in range(len(left)):
        for earlier in range(day - 1, -1, -1):
            if left[day] < 0 < left[earlier]:
                taken = min(-left[day], left[earlier])
                left[day] += taken
                left[earlier] -= taken
    return left


def backward_accumulate(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """As `backward`, with surpluses carried forward; an uncovered shortage shows in its own period only."""
    periods = backward(usable, safety, supply, demand)
    return [sum((p for p in periods[: d + 1] if p > 0), Decimal(0)) + min(periods[d], Decimal(0)) for d in range(len(periods))]


def discrete(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """In period 0 and in each period with supply: its supply less all demand before the next period with supply."""
    days = len(usable)
    starts = [d for d in range(days) if d == 0 or supply[d] > 0]
    found = [Decimal(0)] * days
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else days
        opening = usable[0] - safety if start == 0 else Decimal(0)
        lost = sum((usable[d - 1] - usable[d] for d in range(max(start, 1), end)), Decimal(0))
        found[start] = opening + supply[start] - sum(demand[start:end], Decimal(0)) - lost
    return found


def cumulative(usable: Numbers, safety: Decimal, supply: Numbers, demand: Numbers) -> list[Decimal]:
    """The running sum of `discrete`."""
    periods = discrete(usable, safety, supply, demand)
    return [sum(periods[: d + 1], Decimal(0)) for d in range(len(periods))]


POLICIES: dict[str, Callable[[Numbers, Decimal, Numbers, Numbers], list[Decimal]]] = {
    "lookahead": lookahead,
    "projected": projected,
    "backward": backward,
    "backward_accumulate": backward_accumulate,
    "discrete": discrete,
    "cumulative": cumulative,
}
