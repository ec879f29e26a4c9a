"""A small ERP, WMS, CRM, customer portal and marketplace: foreign systems to run crossdock against.

They know nothing of crossdock but its HTTP addresses, and import nothing of it. Each is a core without I/O, clock or dice of its
own (`erp`, `wms`, `crm`, `marketplace`): what time it is comes with each call, what happens by chance follows from a seed and
from what it happens to, and all it knows is in a store. `service` gives the cores HTTP, files, time and faults:
`python -m infra.sandbox --help`. A simulation drives the same cores in memory:

    erp = Erp(MemoryStore(), master, seed=7)
    answer = erp.put_order("o-1/post/1", "web", "W1", {"revision": 1, "customer": "C-17", "lines": [...]}, now=now_ms)
    for message in erp.advance(now_ms): ...
"""
