"""Passages of the training text: find the characters that would make a text copy more of the
training text than it may.

Shapes: N characters of a text (bytes, for the byte alphabet), V vocabulary.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from charrnn.config.options import at_least, check
from charrnn.errors import CharRNNError, DataError
from charrnn.system.arrays import BoolArray
from charrnn.system.progress import warn
from charrnn.text.copies import (
    BASE,
    Codes,
    KnownHashes,
    SlicedText,
    blocks_of_codes,
    powers_of,
    window_hashes,
)
from charrnn.text.corpus import CorpusPart
from charrnn.text.documents import END
from charrnn.trained_model import TrainedModel, load


class KnownPassages:
    """All passages of N + 1 characters of a training text, as hashes of 8 bytes: the argument
    `forbid` of a sample.

    No passage is missed. A passage outside the training text has the hash of a passage in it with a
    probability of 1 in 2^64: one character more is then forbidden.
    """

    def __init__(
        self, texts: Iterable[SlicedText], num_chars: int, codes: Codes, end_id: int | None
    ):
        """Read training texts. A sample may copy `num_chars` N of their characters in a row;
        `codes` (V,) are the code points of the alphabet."""
        self._num_chars = num_chars
        self._codes = codes
        self._end_id = end_id
        self._powers = powers_of(BASE, num_chars + 1)

        # Equal hashes are kept once.
        known = []
        for training in texts:
            for _, block in blocks_of_codes(training, num_chars + 1):
                hashes = window_hashes(block, num_chars + 1)
                # Without an index, `np.unique` of NumPy 2.4 fills a hash table: that takes ten
                # times as long as sorting.
                known.append(np.unique(hashes, return_index=True)[0])
        self._known = KnownHashes(known)

    def __call__(self, ids: Sequence[int]) -> BoolArray:
        """Return which characters (V,) would complete a passage if they followed a text of ids."""
        # No character completes a passage after a shorter text, and END never completes one.
        if len(ids) < self._num_chars:
            return np.zeros(len(self._codes), np.bool_)
        before = self._codes[list(ids[len(ids) - self._num_chars :])]
        hashes = self._codes * self._powers[-1] + (before * self._powers[:-1]).sum(dtype=np.uint64)
        completes = np.zeros(len(self._codes), np.bool_)
        completes[self._known.find(hashes)[0]] = True
        if self._end_id is not None:
            completes[self._end_id] = False
        return completes


class LearnedTexts(NamedTuple):
    """The texts that a model has learned."""

    parts: list[list[CorpusPart]]
    """The parts of its own text, the training part first, then those of the texts of the models
    that it started from."""
    missing: str = ""
    """A sentence that names the model whose text is not known; "" if all are."""

    @property
    def trainings(self) -> list[CorpusPart]:
        """The training part of each text."""
        return [training for training, *_ in self.parts]


def learned_texts(model: TrainedModel, *, reason: str) -> LearnedTexts:
    """Read the parts of the text of a model, and of the texts of the models that it started from.

    A warning names a model that it started from if is no longer the model of that
    name, or has a text that cannot be read. Raises DataError if the model's own text is missing or
    has changed; `reason` ends the message.
    """
    texts = [list(model.read_parts(reason=reason))]
    while model.config.init_from is not None:
        init_from = model.config.init_from
        try:
            earlier = load(init_from)
            if not _started_from(model, earlier=earlier):
                raise DataError("another model has that name now")
            texts.append(list(earlier.read_parts(reason=reason)))
        except CharRNNError as error:
            missing = f"what {init_from} learned before is not compared: {error}".rstrip(".")
            warn(missing)
            return LearnedTexts(texts, missing)
        model = earlier
    return LearnedTexts(texts)


def _started_from(model: TrainedModel, *, earlier: TrainedModel) -> bool:
    """Return whether a model started from the weights of an earlier one, or from another step of a
    run with the text of that one."""
    if model.base.get("digest") == earlier.step_digest:
        return earlier.step_digest is not None
    recorded = earlier.recorded_corpus
    return recorded is not None and model.base.get("corpus_digest") == recorded.digest


def known_passages(model: TrainedModel, num_chars: int) -> KnownPassages:
    """Read the training texts of the run and of the runs that it started from, so that no sample
    copies more than `num_chars` of their characters in a row.

    Raises DataError if the text is missing or has changed, UsageError for a number under 1.
    """
    check("num_chars", num_chars, allowed=at_least(1))
    texts = learned_texts(model, reason=" What is copied shows only beside the text.").trainings
    # The unknown symbol is never drawn, so it may have any code.
    points = [ord(character or END) for character in model.vocab.characters]
    # A passage longer than every text forbids nothing, as does a passage of the longest text.
    num_chars = min(num_chars, max(map(len, texts)))
    return KnownPassages(
        texts, num_chars=num_chars, codes=np.array(points, np.uint64), end_id=model.config.end_id
    )
