"""Measure the cells of a model while it reads."""
