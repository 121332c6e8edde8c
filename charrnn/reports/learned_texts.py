"""What a sample may not copy of the texts that a model has learned: documents that stand in them,
and characters that would complete a passage of them.

Shapes: V vocabulary.
"""

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from charrnn.config.options import at_least, check
from charrnn.errors import UsageError, named
from charrnn.generation.sample_options import Forbid
from charrnn.reports.provenance import read_reference_text
from charrnn.system.arrays import BoolArray
from charrnn.text.copies import (
    BASE,
    KnownHashes,
    blocks_of_codes,
    known_documents,
    loose_key,
    powers_of,
    window_hashes,
)
from charrnn.text.documents import END
from charrnn.trained_model import TrainedModel


def known_passages(model: TrainedModel, num_chars: int) -> Forbid:
    """Read the training texts of the run and of the runs that it started from, so that no sample
    copies more than `num_chars` of their characters in a row.

    Returns a function of the ids of a text, which returns which characters (V,) would complete a
    passage if they followed it: the argument `forbid` of a sample. No passage is missed, because
    all passages are known by hashes of 8 bytes. A passage outside the training text has the hash of
    a passage in it with a probability of 1 in 2^64: one character more is then forbidden.

    Raises DataError if the text is missing or has changed, UsageError for a number under 1.
    """
    check("num_chars", num_chars, allowed=at_least(1))
    texts = read_reference_text(model).trainings
    # A passage longer than every text forbids nothing, as does a passage of the longest text.
    num_chars = min(num_chars, max(map(len, texts)))
    hashes = []
    for training in texts:
        for _, block in blocks_of_codes(training, length=num_chars + 1):
            # Equal hashes are kept once. Without an index, `np.unique` of NumPy 2.4 fills a hash
            # table: that takes ten times as long as sorting.
            unique = np.unique(window_hashes(block, length=num_chars + 1), return_index=True)
            hashes.append(unique[0])
    known = KnownHashes(hashes)

    # The unknown symbol is never drawn, so it may have any code.
    points = [ord(character or END) for character in model.vocab.characters]
    codes = np.array(points, np.uint64)
    powers = powers_of(BASE, num=num_chars + 1)

    def forbidden(ids: Sequence[int]) -> BoolArray:
        completes = np.zeros(len(codes), np.bool_)
        # No character completes a passage after a shorter text, and END never completes one.
        if len(ids) >= num_chars:
            before = codes[list(ids[len(ids) - num_chars :])]
            begun = (before * powers[:-1]).sum(dtype=np.uint64)
            completes[known.find(begun + codes * powers[-1]).indices] = True
        if model.config.end_id is not None:
            completes[model.config.end_id] = False
        return completes

    return forbidden


def new_documents(model: TrainedModel) -> Callable[[str | bytes], bool]:
    """Return a function that says whether a document is new: it is not empty, and stands neither in
    the text of the model, held-out parts included, nor in that of a model that it started from,
    whatever its case, the blanks at its ends and the form of Unicode. The function is the argument
    `accept` of `Model.samples`.

    Raises DataError if the run's text is missing or changed, UsageError for a model without
    documents.
    """
    if model.config.end_id is None:
        raise UsageError(
            f"{model.name} was not trained on documents, such as the lines of a list, so that"
            f" nothing is new or known: train it with {named('documents', 'lines')}."
        )
    known = known_documents(*chain.from_iterable(read_reference_text(model).parts))
    known.add("")
    return lambda document: loose_key(document) not in known
