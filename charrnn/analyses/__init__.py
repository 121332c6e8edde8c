"""The analyses of networks and their cells, each in a file or folder of its own: the measurement,
its result and its picture."""
