"""The outbox table, for `manage.py migrate`."""
