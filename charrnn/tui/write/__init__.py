"""The interface of `charrnn write`, drawn with Textual; what it needs of a model is in
`assistant`."""
