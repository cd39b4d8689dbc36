"""Searches: terms become conditions and parameters, candidates come from an index, and every walk has an end."""
