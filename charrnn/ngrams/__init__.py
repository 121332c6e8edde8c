"""N-grams of the training text of a run."""
