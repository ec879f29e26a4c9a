"""The wiring: settings to log, flows, workers, agents, queries and API; threads and worker processes."""
