"""What can be wrong with a service, as it is told: `POST <service>/control`."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Annotated, Any

import msgspec

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`down`: answers 503, does no work, tells nothing. `slow_ms`: waits before each call. Shares: of replies lost after the call
    was done, of messages told twice, of messages held back so that later ones overtake.
    """

    down: bool = False
    slow_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    lose_reply: Share = 0.0
    duplicate: Share = 0.0
    shuffle: Share = 0.0


class BadFault(Exception):
    """What is asked for is not a fault we know."""


class Faults:
    """The faults of one service, none at first."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.settings = FaultSettings()

    def change(self, wish: Any) -> None:
        """Set what is named, leave the rest. Raises `BadFault`."""
        try:
            held = msgspec.structs.asdict(self.settings)
            self.settings = msgspec.convert(held | wish if isinstance(wish, dict) else wish, FaultSettings)
        except msgspec.ValidationError as error:
            raise BadFault(f"{error}. There are down, slow_ms, lose_reply, duplicate and shuffle.") from None

    async def slow(self) -> None:
        """Take the time."""
        await asyncio.sleep(self.settings.slow_ms / 1000)

    def hits(self, share: float) -> bool:
        """Whether it happens this time."""
        return share > 0 and self._random.random() < share
