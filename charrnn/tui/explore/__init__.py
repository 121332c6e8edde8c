"""The interface of `charrnn explore`, drawn with Textual; what it shows is in `state`, which needs
no Textual."""
