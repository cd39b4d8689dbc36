"""Throughput and latency of a server, of an embedded store and of the engine alone, against the targets."""
