"""Settings of a run: their ranges, recipes and files; the options that set them; names of cell
types and depths."""
