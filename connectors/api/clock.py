"""Routes about the clock that is decided by."""

from __future__ import annotations

from fastapi import APIRouter, Response

from connectors.api.docs import answers
from connectors.api.http import ExactRoute
from connectors.api.models import ConfirmIn
from connectors.api.ports import Clock, ClockView, Ports
from connectors.api.problems import Problem
from connectors.api.render import instant, reply

_CLOCK = {
    "now": "2026-11-02T09:14:07.000Z",
    "machine": "2027-12-07T09:14:08.000Z",
    "is_trusted": False,
    "step_s": 34_560_001.0,
    "confirmed_in_s": None,
    "says": "...",
}


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["operations"])

    @routes.get("/v1/clock", responses=answers("The clock", _CLOCK, 404))
    def clock() -> Response:
        """What time it is for crossdock, and whether the machine's clock is believed."""
        return reply(_shown(_port(ports).state()))

    @routes.post("/v1/clock/confirm", responses=answers("Believed", _CLOCK, 404, 409, 415, 503))
    def confirm(body: ConfirmIn) -> Response:
        """A person has looked: the machine's clock is right, however far it has moved. 409 while it is believed anyhow."""
        return reply(_shown(_port(ports).confirm(body.person, body.note)))

    return routes


def _port(ports: Ports) -> Clock:
    if ports.clock is None:
        raise Problem(404, "This process is told the time by others: it has no clock to confirm.")
    return ports.clock


def _shown(view: ClockView) -> dict[str, object]:
    return {
        "now": instant(view.now_ms),
        "machine": instant(view.machine_ms),
        "is_trusted": view.is_trusted,
        "step_s": view.step_ms / 1000,
        "confirmed_in_s": None if view.confirmed_in_ms is None else view.confirmed_in_ms / 1000,
        "says": view.says,
    }
