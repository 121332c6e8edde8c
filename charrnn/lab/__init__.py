"""Analyses: each measures one thing, and has its result, its picture and its option beside it."""
