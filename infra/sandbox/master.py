"""Items, customers, sites and prices both the ERP and the WMS know, from an extract of the ERP's tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class BadMasterExtract(Exception):
    """The extract cannot be used: the sentence says why."""


@dataclass(frozen=True, slots=True)
class Master:
    """Master data. `items`: base unit by item; `customers`: price list by customer; `places`: (site, item) where stock is kept;
    `prices`: decimal text by (price list, item).
    """

    items: dict[str, str]
    customers: dict[str, str]
    sites: frozenset[str]
    places: tuple[tuple[str, str], ...] = ()
    prices: dict[tuple[str, str], str] = field(default_factory=dict)


def read_master(directory: Path) -> Master:
    """Master data of a directory of `<table>.json`, each an array of rows. Raises `BadMasterExtract`."""
    try:
        prices = sorted(_rows(directory, "item_price"), key=lambda row: str(row["valid_from"]))
        return Master(
            items={row["item_no"]: row["base_uom"] for row in _rows(directory, "item")},
            customers={row["customer_no"]: row["price_list"] for row in _rows(directory, "customer")},
            sites=frozenset(row["site_code"] for row in _rows(directory, "site")),
            places=tuple(sorted((row["site_code"], row["item_no"]) for row in _rows(directory, "inventory_balance"))),
            prices={(row["price_list"], row["item_no"]): str(row["unit_price"]) for row in prices},
        )
    except (KeyError, TypeError) as error:
        raise BadMasterExtract(f"{directory}: a row has no column {error}. Give a directory with the ERP's tables.") from None


def _rows(directory: Path, table: str) -> list[dict[str, Any]]:
    path = directory / f"{table}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadMasterExtract(f"{path} cannot be read: {error}. Give a directory with the ERP's tables, <table>.json.") from None
    if not isinstance(rows, list):
        raise BadMasterExtract(f"{path} is not an array of rows.")
    return rows
