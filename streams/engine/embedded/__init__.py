"""The embedded log: durable, in one directory and one process, on RocksDB."""
