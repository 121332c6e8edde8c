"""The interface of `charrnn write`, drawn with Textual. The module `continuations` calls the model,
and does not need Textual."""
