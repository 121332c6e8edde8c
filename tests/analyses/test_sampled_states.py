"""How the characters of a text are written; the states before positions are tested by the
gradients."""

import numpy as np

from charrnn.analyses.sampled_states import characters_of
from charrnn.text.vocab import EncodedText, Vocab


def test_a_byte_is_written_as_such():
    text = EncodedText(np.array([65, 195, 164], np.uint16), 0, "A\xc3\xa4", Vocab.of_bytes())
    assert characters_of(text) == {65: "A", 195: "\\xc3", 164: "\\xa4"}
