"""Intervals of means over a text, and of few values."""
