"""The interface of `charrnn explore`, drawn with Textual. The module `state` holds the data that it
shows, and does not need Textual."""
