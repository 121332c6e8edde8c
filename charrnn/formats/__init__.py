"""Files that other programs read: a model in one file and a page that runs the model."""
