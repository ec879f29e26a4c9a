"""Chaos: real worker processes on real brokers, faults from a seed, and the simulation's oracle to say whether all is well.

    crossdock chaos --minutes 30 --seed 7

The input, the oracle and the invariants are the simulation's (`infra.simulation`): what differs is the system under test.
Nothing here
is on the way of production data.
"""
