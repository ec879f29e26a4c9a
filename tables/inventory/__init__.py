"""Inventory: each item's stock, supply, demand and reservations, and what can be promised of them."""
