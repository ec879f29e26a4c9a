"""Demo traffic: a warehouse day and four channels' orders, generated from a seed, for the demo, benchmarks and simulation.

Pure: the same plan gives the same bytes. `traffic.orders(plan)` is the morning (stock and orders); once it has been
processed, `traffic.warehouse(plan, open_lines, first_sequence)` executes what was allocated.
"""
