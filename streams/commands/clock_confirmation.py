"""People and the clock: a step that is not believed is an exception, and its confirmation is written down with who gave it."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from connectors.api.ports import Busy, ClockView, Invalid
from schemas.codec import Codec
from schemas.operations import ExceptionCleared, ExceptionNoted, ExceptionWorked
from schemas.topics import CLOCK
from streams.commands.send import said_now, send
from streams.engine.log import Log
from streams.monitoring.machine import clock_told
from streams.monitoring.trusted_clock import ClockState, TrustedClock, keep_anchor

_HINT = "There is nothing to confirm."


class ClockControl:
    """`connectors.api.ports.Clock` on the log."""

    def __init__(self, clock: TrustedClock, log: Log, codec: Codec, directory: Path) -> None:
        self._clock = clock
        self._log = log
        self._codec = codec
        self._directory = directory
        self._fingerprint = f"clock_step:{socket.gethostname()}"
        self._is_noted = False

    def state(self) -> ClockView:
        """How it stands."""
        return _view(self._clock.state())

    def confirm(self, person: str, note: str) -> ClockView:
        """A person says that the machine's clock is right."""
        before = self._clock.state()
        if before.is_trusted:
            raise Invalid("The machine's clock is believed", _HINT, is_conflict=True)
        self._note(before)
        header = said_now(before.now_ms, "clock")
        words = note or f"the machine's clock, {before.step_ms / 1000:+,.0f} s from what was decided by, is right"
        worked = ExceptionWorked(**header, fingerprint=self._fingerprint, action="resolve", person=person, note=words)
        send(self._log, self._codec, worked)  # written down first: what nobody can look up later does not take effect
        self._is_noted = False
        confirmed = self._clock.confirm()
        with suppress(OSError):  # whoever starts next is asked again then
            keep_anchor(self._clock, self._directory)
        return _view(confirmed)

    def step(self, state: ClockState) -> None:
        """A doubt has begun, or ended by itself."""
        with suppress(Busy):  # readiness says it too
            if not state.is_trusted:
                self._note(state)
            elif self._is_noted:
                send(self._log, self._codec, ExceptionCleared(**self._header(state), fingerprint=self._fingerprint))
                self._is_noted = False

    def _note(self, state: ClockState) -> None:
        if self._is_noted:
            return
        sentence = clock_told(state)
        noted = ExceptionNoted(
            **self._header(state),
            fingerprint=self._fingerprint,
            code="clock_step",
            sentence=f"{sentence[0].upper()}{sentence[1:]}.",
            item=None,
            order_id=None,
        )
        send(self._log, self._codec, noted)
        self._is_noted = True

    def _header(self, state: ClockState) -> dict[str, Any]:
        return said_now(state.now_ms, "clock") | {"source": CLOCK}


def _view(state: ClockState) -> ClockView:
    return ClockView(state.now_ms, state.machine_ms, state.is_trusted, state.step_ms, state.confirmed_in_ms, clock_told(state))
