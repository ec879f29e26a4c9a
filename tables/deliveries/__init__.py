"""Deliveries: what is owed to each endpoint, in order, until it is settled."""
