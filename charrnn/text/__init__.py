"""Corpora: where text comes from, its alphabet and the batches of ids that training reads."""
