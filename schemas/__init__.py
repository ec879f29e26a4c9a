"""What crosses a boundary: canonical events by business domain, the topics that carry them, and their codec."""
