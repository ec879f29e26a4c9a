"""What can be told: commands and raw messages on their way into the log, and what people decide."""
