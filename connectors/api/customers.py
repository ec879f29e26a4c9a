"""Routes about customers."""

from __future__ import annotations

from fastapi import APIRouter, Response

from connectors.api.docs import answers
from connectors.api.http import ExactRoute
from connectors.api.ports import Ports
from connectors.api.problems import Problem
from connectors.api.render import reply

_CUSTOMER = {
    "customer": "00100113",
    "is_known": True,
    "erp": {"name": "Acme", "terms": "NET30", "credit_limit": 25000, "credit_hold": False, "price_list": "STD", "status": "A"},
    "open_amount": 1250,
    "granted_amount": 1000,
    "amounts": [{"currency": "USD", "open_amount": 1250, "granted_amount": 1000}],
    "held": 1,
    "held_orders": [{"order_id": "web:W1001", "amount": 250, "reason": "credit_limit", "sentence": "..."}],
    "contacts": [{"field": "email", "value": "ap@acme.example", "at": "2026-11-02T09:14:07.000Z"}],
    "disagreements": [],
}


def router(ports: Ports) -> APIRouter:
    """The routes over their ports."""
    routes = APIRouter(route_class=ExactRoute, tags=["customers"])

    @routes.get("/v1/customers/{customer:path}", responses=answers("The customer", _CUSTOMER, 404))
    def one(customer: str) -> Response:
        """What the ERP and the CRM say of a customer, what its open orders amount to, and which of them are held."""
        found = ports.customers.get(customer)
        if found is None:
            raise Problem(404, f"Customer {customer[:100]!r} is not known. Numbers are the ERP's, leading zeros included.")
        return reply(found)

    return routes
