"""Items renumbered, deleted, created again, with long texts not always sent: whatever arrives when, the texts end up right."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.inventory import ItemChanged, ItemTextProvided, ItemTextRequested
from tables.common.table import in_memory
from tables.inventory import item_master
from tables.inventory.state import PromiseTables
from tests.support.erp_world import World, deliver

NUMBERS = ("A", "B", "C", "D")
RULES: dict[type[Any], Any] = {
    ItemChanged: item_master.item_changed,
    ItemTextRequested: item_master.item_text_requested,
    ItemTextProvided: item_master.item_text_provided,
}


def history(random: Random, steps: int) -> World:
    world = World(random)
    for number in NUMBERS[:2]:
        world.put(ItemChanged, "r", item=number, description=f"base of {number}")
    for step in range(steps):
        number = random.choice(NUMBERS)
        live = (ItemChanged, (number,)) in world.rows
        free = [n for n in NUMBERS if (ItemChanged, (n,)) not in world.rows]
        match random.randrange(6):
            case 0 if not live:
                world.put(ItemChanged, item=number, description=f"created {step}")
            case 1 if live:
                world.put(ItemChanged, item=number, description=f"written {step}")
            case 2 if live:
                world.put(ItemChanged, item=number, status=f"S{step}", description_is_unavailable=True)
            case 3 | 4 if live and free:
                renumber(world, number, random.choice(free), is_sent=random.random() < 0.2)
            case 5 if live:
                world.read(ItemChanged, number)
            case _ if live and random.random() < 0.3:
                world.delete(ItemChanged, number)
    return world


def renumber(world: World, old: str, new: str, *, is_sent: bool) -> None:
    """One UPDATE of the key: a delete and a create at one log position."""
    row = world.rows[(ItemChanged, (old,))]
    world.delete(ItemChanged, old)
    world.put(ItemChanged, "c", tick=False, **(row | {"item": new}), renumbered_from=old, description_is_unavailable=not is_sent)


@settings(max_examples=500)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_texts_converge(seed: int, steps: int) -> None:
    random = Random(seed)
    world = history(random, steps)
    t = in_memory(PromiseTables)
    deliver(world, lambda e: list(RULES[type(e)](t, e)), lambda e: str(e.item), random)
    ours = {key[0]: (row.description, row.status) for key, row in t.items.under() if not row.is_deleted}
    assert ours == {at[1][0]: (row["description"], row.get("status", "A")) for at, row in world.rows.items()}
    assert not list(t.text_requests.under())
    assert all(row.text_wanted_from is None for _, row in t.items.under())
