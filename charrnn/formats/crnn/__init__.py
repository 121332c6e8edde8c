"""Compression by a model: files of code lengths that open on every machine."""
