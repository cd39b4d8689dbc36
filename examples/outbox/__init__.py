"""Orders and their mails in one transaction, with SQLAlchemy and with sqlite3."""
