# Generated from src/roost/sdk/_async/__init__.py by scripts/generate_sync.py; do not edit.
"""The client; `roost.sdk._sync` is written by hand, `roost.sdk._sync` is made from it."""
