"""Frozen records: what crosses a boundary and what tables hold.

    class Balance(Frozen, frozen=True):
        on_hand_milli: int

They are msgspec structs, which are made some five times as quickly as frozen dataclasses and go to msgpack and back some two
times as quickly; an event makes about twenty of them (ADR 0018). Equality, hash, representation, defaults and inheritance are
those of frozen dataclasses. Events are `kw_only=True` as well; each class has to say both, for those who read it and for mypy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # mypy checks the changes of this one by field
    from dataclasses import replace as replace  # noqa: PLC0414 - re-exported
else:
    from msgspec.structs import replace as replace  # noqa: PLC0414 - re-exported
from msgspec.structs import fields as fields  # noqa: PLC0414 - re-exported


class Frozen(msgspec.Struct, frozen=True, gc=False):
    """A record whose fields are set once, as it is made.

    `gc=False`: the cyclic collector passes it by. What cannot be changed cannot come to hold itself.
    """
