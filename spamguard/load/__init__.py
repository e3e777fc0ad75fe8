"""Invented traffic for a running service, and what came back of it: for tests, benchmarks, and who sizes a cluster."""
