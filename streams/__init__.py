"""Flows: the engine, one module a fold, the agents, the views, the wiring and the command line."""
