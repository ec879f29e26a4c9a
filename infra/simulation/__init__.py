"""A seeded simulation of the whole pipeline against an independent oracle. Start reading at `run.py`.

Even seeds (`course.py`, `history.py`): the system looks on while the world's people run their orders. Odd seeds (`conduct.py`,
`trade.py`): it runs them itself, through its agents, with the sandbox's ERP, WMS and CRM in memory (`systems.py`, `agency.py`).
`oracle.py`, `policies.py`, `agreement.py` and `lending.py` restate what is right naively and share no code with `tables/`.
"""
