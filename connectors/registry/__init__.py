"""A schema registry that speaks Confluent's API (Confluent's own, Apicurio's `/apis/ccompat/v7`): our schemas brought there under
our ids, and compared with what it holds.

Records carry the id of their schema, and those ids are ours (`schemas/avro/index.json`): a registry serves our readers only if
it holds each schema under our id. `client` calls it, `mirror` decides what is to be done (ADR 0016).
"""
