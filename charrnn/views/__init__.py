"""Results to rich renderables; no Console, no torch, no files."""
