"""Defaults of sampling, beam search and prediction: each in one place, and importable without NumPy."""

DEFAULT_LENGTH = 1000
"""Characters of a sample."""
DOCUMENT_LENGTH = 10_000
"""Characters after which `charrnn sample` cuts a document that has not ended."""
SAMPLE_TEMPERATURE = 0.8
"""Temperature of `charrnn sample`, of the samples during training and of the explorer. `Model.sample` takes 1."""
DEFAULT_PRECISION = "auto"
"""Precision of the weights while sampling: 8 bits."""
DEFAULT_UNKNOWN = "error"
"""What happens to characters of a prime that are not in the vocabulary."""
DEFAULT_TOP = 5
"""Characters that a prediction lists."""
DEFAULT_WIDTH = 8
"""Beams of a search."""
DEFAULT_SEARCH_LENGTH = 200
"""Characters of a text that `Model.beam` searches for; `charrnn sample --beam` takes `DEFAULT_LENGTH`."""
DEFAULT_DIVERSITY = 0.5
"""Nats that a diverse search subtracts for each beam of an earlier group that chose the same character."""
