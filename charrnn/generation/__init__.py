"""Drawing text from a model, and telling what of it is copied."""
