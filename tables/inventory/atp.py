"""Available to promise: the formulas, over period quantities.

Periods are days 0..H-1 from today. `opening` is usable stock less safety stock, `supply` and `demand` are quantities by
period (past-due ones already put where the site's policy wants them), `expired` what has expired of the opening stock by
each day. net(d) = supply(d) - demand(d); projected(d) = opening - expired(d) + sum of net(0..d).
"""

from __future__ import annotations

from collections.abc import Sequence

from tables.common.policy import AtpPolicy


def projected(opening: int, supply: Sequence[int], demand: Sequence[int], expired: Sequence[int] | None = None) -> list[int]:
    """Stock expected at the end of each day if nothing more is promised."""
    out = []
    running = opening
    for d, (s, q) in enumerate(zip(supply, demand, strict=True)):
        running += s - q
        out.append(running - (expired[d] if expired else 0))
    return out


def atp(
    policy: AtpPolicy, opening: int, supply: Sequence[int], demand: Sequence[int], expired: Sequence[int] | None = None
) -> list[int]:
    """ATP of each day, signed, by a named policy (see the functions below). `opening` has safety stock taken off."""
    if policy == "lookahead":
        expected = projected(opening, supply, demand, expired)
        return lookahead_perishable(expected, demand) if expired and any(expired) else lookahead(expected)
    if policy == "projected":
        return projected(opening, supply, demand, expired)
    fresh = supply if not expired else _less_expired(supply, expired)
    if policy == "backward":
        return backward(opening, fresh, demand)
    if policy == "backward_accumulate":
        return accumulate_surplus(backward(opening, fresh, demand))
    per_period = discrete(opening, fresh, demand)
    return per_period if policy == "discrete" else _running_sum(per_period)


def lookahead(expected: Sequence[int]) -> list[int]:
    """atp(d) = min of projected(d') for d' >= d: promising it on day d breaks no later day. Cumulative.

    Microsoft Dynamics 365 Inventory Visibility calls it available to promise with look-ahead.
    """
    out = list(expected)
    for d in range(len(out) - 2, -1, -1):
        out[d] = min(out[d], out[d + 1])
    return out


def lookahead_perishable(expected: Sequence[int], demand: Sequence[int]) -> list[int]:
    """As `lookahead`, where lots expire: only days that want something can be broken, so only they limit an earlier day.

    Without this a lot that expires next week could not be sold today. Where nothing expires, both are the same.
    """
    out = list(expected)
    limit: int | None = None
    for d in range(len(out) - 1, -1, -1):
        value = out[d]
        if limit is not None and limit < value:
            out[d] = limit
        if demand[d] > 0 and (limit is None or value < limit):
            limit = value
    return out


def backward(opening: int, supply: Sequence[int], demand: Sequence[int]) -> list[int]:
    """Each period's own net, opening stock in period 0; a shortage is covered from the nearest earlier surplus, then the next.

    What stays uncovered stays negative in its period. Per period.
    """
    out = [s - q for s, q in zip(supply, demand, strict=True)]
    if out:
        out[0] += opening
    for d, net in enumerate(out):
        missing = -net
        earlier = d - 1
        while missing > 0 and earlier >= 0:
            if out[earlier] > 0:
                taken = min(out[earlier], missing)
                out[earlier] -= taken
                missing -= taken
            earlier -= 1
        if net < 0:
            out[d] = -missing
    return out


def accumulate_surplus(per_period: Sequence[int]) -> list[int]:
    """Surpluses carried forward; an uncovered shortage shows in its own period and is not carried. Cumulative."""
    out = []
    surplus = 0
    for net in per_period:
        surplus += max(0, net)
        out.append(net if net < 0 else surplus)
    return out


def discrete(opening: int, supply: Sequence[int], demand: Sequence[int]) -> list[int]:
    """In period 0 and in each period with supply: its supply (opening stock too in period 0) less all demand before the next
    period with supply. Zero elsewhere. Per period. W. Stevenson, Operations Management, master scheduling.
    """
    out = [0] * len(supply)
    at = 0
    for d, (s, q) in enumerate(zip(supply, demand, strict=True)):
        if d == 0 or s > 0:
            at = d
            out[d] = s + (opening if d == 0 else 0)
        elif s < 0:
            out[at] += s
        out[at] -= q
    return out


def _running_sum(values: Sequence[int]) -> list[int]:
    out = []
    running = 0
    for value in values:
        running += value
        out.append(running)
    return out


def _less_expired(supply: Sequence[int], expired: Sequence[int]) -> list[int]:
    """Per-period policies see an expiry as stock that leaves on its day."""
    out = []
    before = 0
    for s, gone in zip(supply, expired, strict=True):
        out.append(s - (gone - before))
        before = gone
    return out


def first_day(series: Sequence[int], qty: int, infinite_after_days: int | None = None) -> int | None:
    """The earliest promise: the first day whose ATP covers the quantity, or the lead-time fence; none within the horizon."""
    fence = infinite_after_days if infinite_after_days is not None else len(series) + 1
    for d, value in enumerate(series):
        if value >= qty or d >= fence:
            return d
    return fence if infinite_after_days is not None else None
