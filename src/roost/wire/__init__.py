"""The API contract: what travels between a client and a server, whatever carries it."""
