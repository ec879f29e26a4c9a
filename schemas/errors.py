"""The answers a translator or a rule can give other than "applied". Each says what to do next.

`BadMessage` and `Refused` quarantine the input (dead letter), `AlreadyApplied` counts a duplicate, `NotYet` parks the
event until what it names becomes known, `BrokenInvariant` halts the partition. Anything else is a defect of ours and halts too.
"""

from __future__ import annotations


class BadMessage(Exception):
    """A foreign message cannot be understood: it goes to the dead-letter topic with its raw bytes.

    `reason` is one sentence for a person, naming the field and the value; `hint` says what to do about it. `items` names
    the items the message was about, where they could be read: their answers are marked `suspect` until it is replayed.
    """

    def __init__(self, reason: str, *, hint: str = "", items: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.items = items


class Refused(BadMessage):
    """A well-formed event contradicts a rule (a unit the item does not have, a fraction of an indivisible unit)."""


class AlreadyApplied(Exception):
    """The event, or a newer one of the same source and key, has been applied before. Nothing changes."""


class NotYet(Exception):
    """The event needs a fact that has not arrived (its item is unknown). It waits and is retried when the fact comes.

    `waits_for` names the fact, like `site:DC-1`; "" is the record's own key. A fold says with `release_on` which event brings it.
    `items`: those whose stock, supply or demand it would change; their answers are marked `suspect` while it waits.
    """

    def __init__(self, reason: str, waits_for: str = "", *, items: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.waits_for = waits_for
        self.items = items


class BrokenInvariant(Exception):
    """State and event cannot both be true: a defect of ours. The partition stops loudly, nothing is committed."""
