"""Sweeps: a grid of runs, or a search, and their table."""
