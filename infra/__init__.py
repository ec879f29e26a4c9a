"""What crossdock runs on and against: scripts, decisions, measurements, and the sandbox of foreign systems."""
