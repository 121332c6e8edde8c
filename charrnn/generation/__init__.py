"""Generating text with a model: sampling and beam search."""
