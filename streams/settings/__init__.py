"""Settings: `crossdock.toml` and the environment."""
