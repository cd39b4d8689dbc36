"""The stores: one meaning, two databases."""
