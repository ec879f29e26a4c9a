"""The engine: folds and translators over a log, exactly once. Start reading at `flow.py`, then `log.py`, then `worker.py`."""
