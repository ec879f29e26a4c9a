"""The log in memory: for simulations and unit tests, with seeded faults."""
