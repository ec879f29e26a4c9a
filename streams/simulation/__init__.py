"""A seeded simulation of the whole pipeline against an independent oracle. Start reading at `run.py`.

`oracle.py` and `policies.py` restate the domain's definitions naively and share no code with `tables/`.
"""
