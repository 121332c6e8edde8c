"""The exported page that contains a model and runs it."""
