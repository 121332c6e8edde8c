"""Ids before a text without a prime, and ids that are never drawn."""

import numpy as np
import pytest
from hand_built import vocab_of

from charrnn.generation.generator import opening_ids, start_ids, undrawable_ids
from charrnn.text.documents import END
from charrnn.text.vocab import Vocab


def test_ids_of_no_character_are_never_drawn_and_end_by_models_of_documents_alone():
    vocab = vocab_of("abc" + END)
    end_id = vocab.characters.index(END)
    assert undrawable_ids(vocab, end_id) == (0,)
    # Of a model that started from one with documents and learned a text without them.
    assert undrawable_ids(vocab) == (0, end_id)
    assert undrawable_ids(Vocab.of_bytes(), 0) == undrawable_ids(Vocab.of_bytes()) == ()
    # A text begins after a newline, or else after the first character.
    line = vocab_of("dcba")
    assert line.decode(start_ids(line)) == "a"
    assert start_ids(Vocab.of_bytes()).tolist() == [10]
    assert start_ids(vocab, end_id).tolist() == [end_id]


class Expecting:
    """A model that expects a newline after these texts, and after no other."""

    def __init__(self, vocab, texts):
        self.vocab = vocab
        self.texts = texts

    def read(self, ids, state=None):
        text = (state or "") + self.vocab.decode(ids)
        logits = np.zeros((1, len(self.vocab)), np.float32)
        logits[0, self.vocab.encode("\n")] = -10
        if text in self.texts:
            logits[0, self.vocab.encode("\n")] = 10
        return logits, text


@pytest.mark.parametrize(
    "expects, opening",
    [
        pytest.param((), "\n", id="lines"),
        pytest.param((".", ".\n"), ".\n\n", id="wrapped prose"),
        pytest.param((".",), ".\n", id="sentences, one per line"),
        pytest.param(("\n", "\n\n", "\n\n\n"), "\n\n\n", id="code"),
        pytest.param(("\n\n",), "\n", id="no blank lines"),
    ],
)
@pytest.mark.parametrize("vocab", [vocab_of("ab.\n"), Vocab.of_bytes()])
def test_a_text_without_a_prime_begins_after_what_the_model_expects_before_it(
    vocab, expects, opening
):
    assert vocab.decode(opening_ids(Expecting(vocab, expects), vocab)) == opening


def test_a_model_of_documents_or_without_newline_begins_as_before():
    documents, without = vocab_of("ab.\n" + END), vocab_of("ab.")
    end_id = documents.characters.index(END)
    assert opening_ids(None, documents, end_id).tolist() == [end_id]
    assert opening_ids(None, without).tolist() == start_ids(without).tolist()
