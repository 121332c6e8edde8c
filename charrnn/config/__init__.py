"""Settings of a run: their ranges, recipes and files; the options that set them; the names of cell
types and depths."""
