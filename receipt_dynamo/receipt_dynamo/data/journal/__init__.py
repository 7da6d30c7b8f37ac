"""Accepted records on disk: one SQLite file for each process, under a lease."""
