"""Formal languages: texts of which everybody knows what a network must remember to predict them."""

from collections.abc import Mapping

from charrnn.hooks import hookimpl


@hookimpl
def texts() -> Mapping[str, str]:
    """Return the formal languages, each with the function that writes its training text."""
    from charrnn.languages.formal_languages import FORMAL_LANGUAGES

    return dict.fromkeys(FORMAL_LANGUAGES, "charrnn.languages.formal_languages:training_text")
