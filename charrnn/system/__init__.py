"""Files that are written atomically, signals, progress, and imports that wait until they are
needed."""
