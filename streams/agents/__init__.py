"""Agents: they act on the outside world, hold no state, and may be killed at any moment."""
