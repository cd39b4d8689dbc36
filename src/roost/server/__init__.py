"""The HTTP server: routes from the API table, a guard against slow and hostile clients, settings and start-up."""
