"""Files that are written whole or not at all, signals, progress, and imports that wait until they
are needed."""
