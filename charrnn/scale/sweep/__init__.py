"""Sweeps: a grid of runs, and their table."""
