"""Foreign systems, one folder each: their wire formats, and pure translators to canonical events."""
