"""Roost on an SQLite file."""
