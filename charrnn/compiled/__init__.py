"""Loops compiled by numba for long texts."""
