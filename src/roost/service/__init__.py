"""Use cases, group commit and the background loops, over any store."""
