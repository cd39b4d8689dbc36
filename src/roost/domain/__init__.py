"""Pure functions over facts: no clock, no input or output, no randomness of their own."""
