"""How well a model predicts a text, and what of its text is copied or repeats."""
