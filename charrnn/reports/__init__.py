"""The losses of lines, and the search for copied passages in a generated text."""
