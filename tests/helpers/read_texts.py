"""Read texts with settings that are given by their names."""

from charrnn.config.settings import Config
from charrnn.text import corpus


def read_corpus(sources, *, vocab=None, is_for_training=True, **settings):
    """Read the text of a configuration with these sources and settings."""
    config = Config(corpus=tuple(sources), **settings)
    return corpus.read_corpus(config, vocab, is_for_training=is_for_training)
