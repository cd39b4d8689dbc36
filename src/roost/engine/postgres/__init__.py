"""Roost on a PostgreSQL database."""
