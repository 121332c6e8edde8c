"""Measure how well models predict a text."""
