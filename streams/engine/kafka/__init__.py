"""The Kafka log: records, changelogs and positions on the brokers, rows cached in local files."""
