"""Orders: what every source says of them, the state of each line, and the process that takes an order to its invoice."""
