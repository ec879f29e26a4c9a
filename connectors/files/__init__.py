"""Files: a folder somebody drops them into, and what they hold."""
