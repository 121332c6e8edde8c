"""Frozen dataclasses with the results of each package. Imports the standard library only."""
