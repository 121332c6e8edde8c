"""Texts given by their ids, as tests of measurements need them."""

import numpy as np
from numpy.typing import NDArray

from charrnn.text.vocab import EncodedText, Vocab


def as_text(ids: NDArray[np.uint16], first: int = 0, text: str | None = None) -> EncodedText:
    """Encode nothing: take ids[first:] as a text, which reads "xxx…" unless `text` is given."""
    shown = "x" * (len(ids) - first) if text is None else text
    return EncodedText(ids, first, shown, Vocab("char", ("", "x")))
