"""A model behind HTTP, for a browser and for OpenAI's clients."""
